"""What pages draw: small frozen values, numbers already in words. Never a model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is signed in."""

    name: str = ""
    email: str = ""
    initials: str = ""


@dataclass(frozen=True, slots=True)
class AccountChoice:
    """An account that the viewer may look at."""

    account_id: str = ""
    name: str = ""
    kind: str = ""
    initials: str = ""
    export_query: str = ""
    may_manage: bool = False


@dataclass(frozen=True, slots=True)
class BalanceView:
    """What is left, which `left_percent` is the share of. `tone` is "", "warning" when 80% are
    taken, "spent" when nothing is left."""

    has_plan: bool = False
    plan_name: str = ""
    plan_type: str = ""
    remaining: str = ""
    of_total: str = ""
    pace: str = ""
    runs_out: str = ""
    period: str = ""
    used_words: str = ""
    held: str = ""
    left_percent: float = 0.0
    held_percent: float = 0.0
    tone: str = ""
    warning_title: str = ""
    warning_words: str = ""


@dataclass(frozen=True, slots=True)
class StatView:
    """A number with its word of context."""

    value: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of the ledger."""

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
    """A series of a chart: its name, its sum and which of the palette's colours it has."""

    name: str
    total: str
    slot: int


@dataclass(frozen=True, slots=True)
class DayRow:
    """A day's sums."""

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
    began: str
    ended: str
    note: str


@dataclass(frozen=True, slots=True)
class PlanDetails:
    """The plan in force in detail, or the last one that was: `note` says which. `has_bar`: a part
    of its period is left, which `period_left_percent` is the share of."""

    name: str = ""
    note: str = ""
    type: str = ""
    source: str = ""
    left: str = ""
    left_percent: float = 0.0
    held_percent: float = 0.0
    tone: str = ""
    began_label: str = ""
    began: str = ""
    ends_label: str = ""
    ends: str = ""
    period_label: str = ""
    period_words: str = ""
    period_left_percent: float = 0.0
    has_bar: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Banner:
    """Why runs are refused, or soon will be. `page_url` is where the open invoice is paid."""

    tone: str = ""
    title: str = ""
    words: str = ""
    pay_words: str = ""
    page_url: str = ""
    has_portal: bool = False


@dataclass(frozen=True, slots=True)
class OfferItem:
    """An offer with what can be done with it: `action` is a button's words, `mark` a badge's."""

    code: str
    name: str
    description: str
    executions: str
    price: str
    interval: str
    unit_price: str
    beyond: str
    action: str
    mark: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class SubscriptionTerms:
    """What the subscription costs and what happens at the end of its period."""

    name: str = ""
    price: str = ""
    words: str = ""
    take_back: str = ""
    may_cancel: bool = False


@dataclass(frozen=True, slots=True)
class CardOnFile:
    """`state` is "", "asking", "known", "none" or "unavailable"."""

    state: str = ""
    words: str = ""
    expires: str = ""


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice; its addresses are the payment provider's. `refunded`: what came back, if any."""

    invoice_id: str
    number: str
    issued: str
    amount: str
    refunded: str
    status: str
    tone: str
    page_words: str
    page_url: str
    pdf_url: str


@dataclass(frozen=True, slots=True)
class Message:
    """Something to tell; `url` leads on, with `url_words` on it."""

    tone: str = ""
    title: str = ""
    words: str = ""
    url: str = ""
    url_words: str = ""


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

    words: str
    amount: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to go on, with its consequence; `yes` stands on the button that agrees to it.

    `ends`: when what comes after a change begins or ends.
    """

    value: str
    title: str
    words: str
    yes: str
    ends: str = ""


@dataclass(frozen=True, slots=True)
class OfferDialog:
    """What the viewer is asked to agree to. `no` stands on the button that leaves all as it is."""

    kind: str = ""
    title: str = ""
    words: str = ""
    no: str = ""
    before: Side = Side()
    after: Side = Side()


@dataclass(frozen=True, slots=True)
class SupportStep:
    """Something that staff did to the account."""

    step_id: str
    at: str
    what: str
    reason: str
    is_undone: bool


@dataclass(frozen=True, slots=True)
class LimitView:
    """What happens after the plan's last execution; `value` is the limit as it is typed."""

    words: str = ""
    used: str = ""
    used_percent: float = 0.0
    has_meter: bool = False
    may_change: bool = False
    currency: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class TopUpItem:
    """The automatic top-up, or what it would be; numbers as they are typed."""

    words: str = ""
    action: str = ""
    spent: str = ""
    stopped: str = ""
    is_on: bool = False
    is_sold: bool = False
    offer_code: str = ""
    threshold: str = ""
    cap: str = ""
    currency: str = ""
