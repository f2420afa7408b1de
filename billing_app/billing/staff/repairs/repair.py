"""What a repair is: the row that describes it, the request for it, and its result."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final, Generic, Protocol, TypeVar

from billing_app.billing import ids
from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import (
    AccountNotFoundError,
    ConflictError,
    EventNotFoundError,
    NotFoundError,
    PlanUnknownError,
)
from billing_app.billing.executions.service import Executions
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.fields import Input, RepairForm, inputs_of
from billing_app.billing.subscriptions.provider import PaymentProvider
from billing_app.billing.subscriptions.provider_request_recovery import ProviderRequests
from billing_app.db.engine import Database
from billing_app.db.tables import AuditEntry

Figures = dict[str, Any]
F = TypeVar("F", bound=RepairForm)


class AlreadyInStateError(ConflictError):
    code = "already_so"
    title = "Already in this state"


class ChangedSinceError(ConflictError):
    code = "moved_on"
    title = "Changed in the meantime"


@dataclass(frozen=True, slots=True)
class Target:
    """What a repair is done to. `decode` takes its id apart: the account's number, and the
    number within the account."""

    noun: str
    collection: str
    decode: Callable[[str], tuple[int, int] | None]
    unknown: type[NotFoundError]

    def numbers(self, target_id: str) -> tuple[int, int]:
        """Raises `unknown` for what is not an id."""
        pair = self.decode(target_id)
        if pair is None:
            raise self.unknown
        return pair


def _account_numbers(account_id: str) -> tuple[int, int] | None:
    number = ids.decode_account(account_id)
    return None if number is None else (number, 0)


def _plan_numbers(plan_id: str) -> tuple[int, int] | None:
    pair = ids.decode(ids.PLAN, plan_id)
    return pair if pair is not None and pair[1] < 2**31 else None


ACCOUNT: Final = Target("account", "accounts", _account_numbers, AccountNotFoundError)
PLAN: Final = Target("plan", "plans", _plan_numbers, PlanUnknownError)
EVENT: Final = Target(
    "event", "executions", lambda event_id: ids.decode(ids.EVENT, event_id), EventNotFoundError
)


@dataclass(frozen=True, slots=True)
class RepairServices:
    """What repairs work with."""

    database: Database
    executions: Executions
    provider: PaymentProvider
    provider_requests: ProviderRequests


@dataclass(frozen=True, slots=True)
class RepairRequest(Generic[F]):
    """A repair, or the undo of one (`undone`). `number` is the plan's sequence or the event's
    number. `agreed` is the preview that somebody confirmed, when there was one.

    The same `key` from the same person is the same repair.
    """

    staff: StaffActor
    action: Action
    account_id: int
    form: F
    now: datetime
    target_id: str = ""
    number: int = 0
    reason: str = ""
    key: str | None = None
    undone: AuditEntry | None = None
    agreed: Any = None

    @property
    def account(self) -> str:
        return ids.encode_account(self.account_id)

    @property
    def undoes(self) -> int | None:
        return self.undone.id if self.undone else None

    def fingerprint(self) -> bytes:
        """Of everything that was asked for. Stored fingerprints are compared with it: keep it."""
        parts = ((self.target_id,) if self.target_id else ()) + self.form.parts()
        whole = repr((self.action, self.account_id, parts, self.undoes, self.reason))
        return blake2b(whole.encode(), digest_size=16).digest()

    def entry_undone(self) -> AuditEntry:
        assert self.undone is not None
        return self.undone


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What changed: `subject` is what was repaired, with its figures before and after."""

    subject: str
    before: Figures = field(default_factory=Figures)
    after: Figures = field(default_factory=Figures)


class Work(Protocol[F]):
    """Carries a request out with its audit entry, both or neither (drivers.py)."""

    async def run(self, services: RepairServices, request: RepairRequest[F]) -> EntryView: ...


class Shown(StrEnum):
    """Where the console offers a repair: in the account's menu (always, or on a condition), or
    beside the plan or event that it is about."""

    IN_MENU = "in_menu"
    ON_TRIAL = "on_trial"
    OF_ORGANIZATION = "of_organization"
    WITH_SUBSCRIPTION = "with_subscription"
    WHILE_OPEN = "while_open"
    WHILE_BLOCKED = "while_blocked"
    IN_ROW = "in_row"


@dataclass(frozen=True, slots=True)
class PreviewRoute:
    """A preview that the API offers too: the name of its route and of its body."""

    name: str
    body: str
    explanation: str
    preview: Callable[[RepairServices, RepairRequest[Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair(Generic[F]):
    """One row of registry.py.

    `preview` changes nothing, and raises what carrying it out would raise. `undo` None: it is
    final. `wording` says what was done, for the customer and the audit log, from the figures
    before and after; `worded` names the figures that it says already. `counts_executions`:
    `after["executions"]` is within the limit of the role. Its address is
    `/{collection}/{id}/{path}`; by default `path` is the name.
    """

    name: str
    action: Action
    target: Target
    title: str
    explanation: str
    form: type[F]
    preview: Callable[[RepairServices, RepairRequest[F]], Awaitable[Any]]
    apply: Work[F]
    undo: Work[Any] | None
    wording: Callable[[Figures, Figures], str]
    worded: frozenset[str] = frozenset()
    path: str = ""
    counts_executions: bool = False
    shown: Shown = Shown.IN_MENU
    is_harsh: bool = False
    target_input: Input | None = None
    preview_route: PreviewRoute | None = None
    needs_provider: bool = False

    @property
    def inputs(self) -> dict[str, Input]:
        """The fields of its form in the console, the target's first."""
        first = {self.target.noun: self.target_input} if self.target_input else {}
        return first | inputs_of(self.form)
