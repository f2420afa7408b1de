"""What pages draw: small frozen values, numbers already formatted. Never a model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is signed in."""

    name: str = ""
    email: str = ""
    initials: str = ""


@dataclass(frozen=True, slots=True)
class AccountChoice:
    """An account that the viewer may see; `organization_id` empty: a person's own."""

    account_id: str = ""
    organization_id: str = ""
    name: str = ""
    kind: str = ""
    initials: str = ""
    export_query: str = ""
    may_manage: bool = False
    role: str = ""


@dataclass(frozen=True, slots=True)
class PersonItem:
    """The viewer's own details; `typed_name` as people type it, `pending`: the address that waits
    for its confirmation, in words."""

    is_shown: bool = False
    name: str = ""
    typed_name: str = ""
    email: str = ""
    pending: str = ""


@dataclass(frozen=True, slots=True)
class BillingItem:
    """What the account's invoices say, and where that comes from; `usual_…`: without a name or an
    address of its own."""

    name: str = ""
    name_note: str = ""
    typed_name: str = ""
    usual_name: str = ""
    email: str = ""
    email_note: str = ""
    typed_email: str = ""
    usual_email: str = ""
    pending: str = ""
    purchase_order: str = ""
    typed_purchase_order: str = ""


@dataclass(frozen=True, slots=True)
class BalanceView:
    """What is left. `tone` is "", "warning" (80% taken) or "spent" (nothing left). `follows`: what
    comes next by itself; `nothing_follows`: a plan must be chosen first."""

    has_plan: bool = False
    plan_name: str = ""
    plan_type: str = ""
    remaining: str = ""
    of_total: str = ""
    pace: str = ""
    runs_out: str = ""
    period: str = ""
    used: str = ""
    held: str = ""
    left_percent: float = 0.0
    held_percent: float = 0.0
    tone: str = ""
    follows: str = ""
    nothing_follows: bool = False
    warning_tone: str = ""
    warning_title: str = ""
    warning_text: str = ""
    warning_action: str = ""
    warning_label: str = ""


@dataclass(frozen=True, slots=True)
class HoldingView:
    """A plan that can be used now, or what may be used beyond them. `shade` tells it from its
    neighbours in the bar; `weight`: its executions left, 0 beyond the plans. `may_raise`: raising
    the spending limit allows more, and no warning of the page offers it already."""

    name: str
    left: str
    ends: str
    shade: str = ""
    weight: int = 0
    may_raise: bool = False


@dataclass(frozen=True, slots=True)
class StatView:
    """A number with a hint below it; `tone` is "" or "bad"."""

    value: str = ""
    hint: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class EventRow:
    """A ledger event; `is_new`: it arrived while the page was open."""

    event_id: str
    at: str
    workflow: str
    user: str
    executions: str
    kind: str
    tone: str
    remaining: str
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """A series of a chart; `slot` is its colour in the palette."""

    name: str
    total: str
    slot: int


@dataclass(frozen=True, slots=True)
class DayRow:
    """The totals of a day."""

    day: str
    used: str
    refunded: str
    net: str
    denied: str


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan in the queue or in the history."""

    plan_id: str
    name: str
    type: str
    state: str
    tone: str
    executions: str
    used: str
    started: str
    start_reason: str
    ended: str
    end_reason: str
    note: str


@dataclass(frozen=True, slots=True)
class PlanDetails:
    """The current plan, or the last one: `note` says which. `has_bar`: its period has an end."""

    name: str = ""
    note: str = ""
    type: str = ""
    source: str = ""
    left: str = ""
    left_percent: float = 0.0
    held_percent: float = 0.0
    tone: str = ""
    started_label: str = ""
    started: str = ""
    ends_label: str = ""
    ends: str = ""
    period_label: str = ""
    period_text: str = ""
    period_left_percent: float = 0.0
    has_bar: bool = False
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class Banner:
    """Why executions are refused, or soon will be; `page_url` is where to pay the invoice.
    `has_top_up`: the automatic top-up is to be turned on again."""

    tone: str = ""
    title: str = ""
    text: str = ""
    pay_label: str = ""
    page_url: str = ""
    has_portal: bool = False
    has_top_up: bool = False


@dataclass(frozen=True, slots=True)
class OfferItem:
    """An offer; `action` is the label of its button."""

    code: str
    name: str
    description: str
    executions: str
    price: str
    interval: str
    unit_price: str
    beyond: str
    action: str
    badge: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class SubscriptionTerms:
    """The subscription's price and end; `undo_label` undoes what is scheduled, `start_label` begins
    its next period now."""

    name: str = ""
    price: str = ""
    text: str = ""
    undo_label: str = ""
    start_label: str = ""
    may_cancel: bool = False


@dataclass(frozen=True, slots=True)
class CardOnFile:
    """`state` is "", "loading", "known", "none" or "unavailable"."""

    state: str = ""
    text: str = ""
    expires: str = ""


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice; its URLs are the payment provider's. `refunded` is empty without a refund."""

    invoice_id: str
    number: str
    issued: str
    what_for: str
    amount: str
    refunded: str
    status: str
    tone: str
    page_label: str
    page_url: str
    pdf_url: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message with an optional link. `action`: the button that helps, `url_label` is its
    label then, if it has its own."""

    tone: str = ""
    title: str = ""
    text: str = ""
    url: str = ""
    url_label: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a change."""

    name: str = ""
    price: str = ""
    executions: str = ""
    ends: str = ""


@dataclass(frozen=True, slots=True)
class AmountLine:
    """A line of what is charged."""

    description: str
    amount: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to proceed, with its consequence; `ends`: when the new plan starts or ends."""

    value: str
    title: str
    text: str
    confirm_label: str
    ends: str = ""


@dataclass(frozen=True, slots=True)
class FilterOption:
    """One choice of a filter: its value apart from its label."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class OfferDialog:
    """What the viewer is asked to confirm."""

    kind: str = ""
    title: str = ""
    text: str = ""
    dismiss_label: str = ""
    before: Side = Side()
    after: Side = Side()


@dataclass(frozen=True, slots=True)
class SupportStep:
    """Something that support did on the account."""

    step_id: str
    at: str
    title: str
    reason: str
    is_undone: bool


@dataclass(frozen=True, slots=True)
class LimitView:
    """What happens when the plan is used up; `value` is the limit as people type it."""

    text: str = ""
    used: str = ""
    used_percent: float = 0.0
    has_meter: bool = False
    may_change: bool = False
    currency: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class TopUpItem:
    """The automatic top-up, or a suggestion for one; numbers as people type them."""

    text: str = ""
    action: str = ""
    spent: str = ""
    stopped: str = ""
    payment_url: str = ""
    is_on: bool = False
    is_sold: bool = False
    offer_code: str = ""
    threshold: str = ""
    cap: str = ""
    currency: str = ""
