"""What the console's pages draw: small frozen values with formatted numbers."""

from dataclasses import dataclass

from billing_app.states.views import EventRow


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A staff member."""

    user_id: str
    name: str
    email: str
    role: str
    role_name: str
    added: str
    is_viewer: bool


@dataclass(frozen=True, slots=True)
class CustomerLine:
    """An account in the list of customers. `remaining_text` is `remaining` of `executions` in full;
    all are "" without a plan. `tone` is the status badge's."""

    account_id: str
    name: str
    email: str
    kind: str
    plan: str
    remaining: str
    executions: str
    remaining_text: str
    left_percent: float
    meter_tone: str
    status: str
    tone: str
    since: str


@dataclass(frozen=True, slots=True)
class CustomerHead:
    """The header of an account's page; `alert` is why executions are refused, or soon will be."""

    account_id: str = ""
    name: str = ""
    kind: str = ""
    email: str = ""
    provider_id: str = ""
    provider_url: str = ""
    status: str = ""
    tone: str = ""
    since: str = ""
    people: str = ""
    is_blocked: bool = False
    is_trial: bool = False
    is_own: bool = False
    alert: str = ""
    alert_text: str = ""
    left: str = ""
    of_total: str = ""
    held: str = ""
    remaining_text: str = ""
    left_percent: float = 0.0
    held_percent: float = 0.0
    meter_tone: str = ""
    pace: str = ""
    plan: str = ""
    plan_note: str = ""
    subscription: str = ""
    subscription_note: str = ""


@dataclass(frozen=True, slots=True)
class DisputeLine:
    """A disputed payment; `provider_url` is where to answer the dispute."""

    row: str
    title: str
    text: str
    provider_url: str


@dataclass(frozen=True, slots=True)
class PlanLine:
    """A plan of the queue or the history, with what can be done about it; `usage` is its used share
    in words."""

    plan_id: str
    number: str
    name: str
    source: str
    state: str
    tone: str
    used: str
    held: str
    executions: str
    usage: str
    dates: str
    is_paused: bool
    is_open: bool


@dataclass(frozen=True, slots=True)
class LedgerLine(EventRow):
    """An event of the ledger; `refunded` says how much was refunded, "" for nothing."""

    refunded: str = ""
    can_refund: bool = False


@dataclass(frozen=True, slots=True)
class DenialLine:
    """Requests refused on a day."""

    row: str
    day: str
    reason: str
    workflow: str
    user: str
    denied: str


@dataclass(frozen=True, slots=True)
class HoldLine:
    """A reservation."""

    reservation_id: str
    status: str
    tone: str
    executions: str
    workflow: str
    user: str
    created: str
    ends: str


@dataclass(frozen=True, slots=True)
class SubscriptionLine:
    """A subscription with the provider's own page."""

    provider_id: str
    provider_url: str
    offer: str
    price: str
    status: str
    tone: str
    period: str
    note: str


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """An invoice with the provider's own page."""

    invoice_id: str
    number: str
    status: str
    tone: str
    amount: str
    what_for: str
    refunded: str
    issued: str
    page_url: str
    provider_url: str


@dataclass(frozen=True, slots=True)
class WebhookLine:
    """An event from the provider; `account` is the account's name."""

    event_id: str
    type: str
    state: str
    tone: str
    received: str
    attempts: str
    account_id: str
    account: str
    error: str
    provider_url: str


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A service key, never its secret."""

    key_id: str
    name: str
    hint: str
    scopes: str
    state: str
    tone: str
    created: str


@dataclass(frozen=True, slots=True)
class PersonLine:
    """A member who can sign in for the account."""

    user_id: str
    name: str
    email: str
    role: str
    since: str


@dataclass(frozen=True, slots=True)
class SessionLine:
    """A signed-in browser."""

    row: str
    user_id: str
    person: str
    browser: str
    user_agent: str
    since: str
    ends: str
    is_live: bool


@dataclass(frozen=True, slots=True)
class PortalLine:
    """A session that a portal link opened; `person_id` is the product's."""

    row: str
    person_id: str
    person: str
    role: str
    browser: str
    user_agent: str
    since: str
    ends: str
    is_live: bool


@dataclass(frozen=True, slots=True)
class EntryLine:
    """An entry of the audit log; `account` is the account's name."""

    entry_id: str
    at: str
    who: str
    role: str
    what: str
    figures: str
    reason: str
    account_id: str
    account: str
    is_own_account: bool
    is_undone: bool
    can_undo: bool
    can_redo: bool = False
    subject: str = ""


@dataclass(frozen=True, slots=True)
class OfferLine:
    """An offer in the list."""

    code: str
    name: str
    state: str
    tone: str
    position: str
    version: str
    price: str
    interval: str
    executions: str
    accounts: str
    has_edits: bool


@dataclass(frozen=True, slots=True)
class VersionLine:
    """A published version of an offer."""

    version: str
    name: str
    price: str
    executions: str
    published: str
    price_id: str
    accounts: str


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """Another person's change of a field."""

    field: str
    before: str
    theirs: str
    yours: str
    by: str


@dataclass(frozen=True, slots=True)
class HolderLine:
    """An account on a version of an offer."""

    account_id: str
    name: str
    email: str
    left: str
    status: str
    tone: str


@dataclass(frozen=True, slots=True)
class ComparisonLine:
    """A reconciliation with the payment provider."""

    began: str
    outcome: str
    tone: str
    kind: str


@dataclass(frozen=True, slots=True)
class DifferenceLine:
    """A difference that the last reconciliation found."""

    row: str
    account_id: str
    what: str
    provider_id: str
    theirs: str
    ours: str
    state: str
    tone: str


@dataclass(frozen=True, slots=True)
class JobLine:
    """A background job."""

    job_id: str
    name: str
    state: str
    tone: str
    subject: str
    created: str
    attempts: str
    problem: str
    can_retry: bool


@dataclass(frozen=True, slots=True)
class PlatformFigures:
    """The figures of all accounts, in words; docs/reference/metrics.md defines each."""

    executions: str = ""
    executions_note: str = ""
    denied: str = ""
    denied_note: str = ""
    trials: str = ""
    trials_note: str = ""
    converted: str = ""
    converted_note: str = ""
    subscriptions: str = ""
    subscriptions_note: str = ""
    revenue: str = ""
    revenue_note: str = ""
    near: str = ""
    near_note: str = ""
    past_due: str = ""
    past_due_note: str = ""
