"""What every console page has: the staff member, what they may do, and the last result."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

import reflex as rx
import structlog
from reflex.event import EventCallback, EventSpec

from billing_app import routes
from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import BillingError
from billing_app.billing.staff.access.permissions import actions_of
from billing_app.billing.staff.operations.trouble import Trouble, read_trouble
from billing_app.composition import get_services
from billing_app.jobs.staff import get_jobs
from billing_app.states import formatting
from billing_app.states.change_polling import Poll, poll
from billing_app.states.session import SessionState, leave_for_sign_in, patience

FAILED = "The server could not do this. Nothing was changed. Try again."

TROUBLE_SECONDS: Final = 5.0
Result = TypeVar("Result")
log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    Page = SessionState
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State


@dataclass(frozen=True, slots=True)
class Notice:
    """The result of the last action; `undo` is the audit entry that a button undoes."""

    text: str = ""
    undo: str = ""
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class TroubleLine:
    """What staff should look at, and the list that shows it."""

    text: str
    href: str


class SharedTrouble:
    """Counted once for all pages, as often as they would like to know."""

    def __init__(self) -> None:
        self._found, self._read_at = Trouble(), 0.0

    async def of(self, read: Callable[[datetime], Awaitable[Trouble]]) -> Trouble:
        if time.monotonic() - self._read_at > TROUBLE_SECONDS or not self._read_at:
            self._found = await read(datetime.now(UTC))
            self._read_at = time.monotonic()
        return self._found


_trouble = SharedTrouble()


def trouble_lines(found: Trouble) -> list[TroubleLine]:
    """Only of what there is."""
    operations = routes.STAFF_OPERATIONS
    first = "" if found.disputes == 1 else "the first "
    due_at = found.evidence_due_at
    due = f", {first}due by {formatting.day(due_at)}" if due_at else ""
    lines = (
        (found.dead_letters, "dead letter", "", f"{operations}?part=webhooks&state=dead"),
        (found.failed_jobs, "failed job", "", f"{operations}?part=jobs&state=failed"),
        (
            found.failed_comparisons,
            "failed reconciliation",
            "",
            f"{operations}?part=jobs&state=failed",
        ),
        (
            found.open_differences,
            "open difference",
            " with Stripe",
            f"{operations}?part=reconciliation",
        ),
        (
            found.unsettled_leases,
            "lease",
            " with reports that could not be counted",
            routes.staff_customer(found.unsettled_account_id or ""),
        ),
        (
            found.disputes,
            "dispute",
            f" without evidence{due}",
            f"{operations}?part=webhooks&type=charge.dispute",
        ),
    )
    return [
        TroubleLine(f"{formatting.counted(count, noun)}{more}", href)
        for count, noun, more, href in lines
        if count
    ]


class StaffPage(Page, mixin=True):
    """Reads when the page opens and every `refresh_polls` while it is open.

    A page's state inherits from this and from SessionState, and reads in `_read`. The page is
    hidden from everyone but staff; the services authorize every call regardless.
    """

    refresh_polls: ClassVar[int] = 3

    is_ready: rx.Field[bool] = rx.field(False)
    is_broken: rx.Field[bool] = rx.field(False)
    is_hidden: rx.Field[bool] = rx.field(False)
    read_at: rx.Field[str] = rx.field("")
    _read_at: datetime | None = None
    role: rx.Field[str] = rx.field("")
    allowed: rx.Field[list[str]] = rx.field(default_factory=list)
    notice: rx.Field[Notice] = rx.field(default_factory=Notice)
    trouble: rx.Field[list[TroubleLine]] = rx.field(default_factory=list)
    trouble_count: rx.Field[str] = rx.field("")

    async def _read(self, staff: StaffActor) -> None:
        """Call the services and `_show` the results."""
        raise NotImplementedError

    def _open(self) -> None:
        """The page was opened: read its URL."""

    @rx.event
    async def load(self) -> EventSpec | EventCallback[()] | None:
        """The page was opened."""
        self._visit += 1
        self._show(notice=Notice())
        self._open()
        leave = await self._refresh()
        return leave or type(self).watch

    @rx.event(background=True)
    async def watch(self) -> AsyncGenerator[EventSpec | list[EventCallback[()]]]:
        """Refresh until the tab closes, goes to another page, or the session ends."""

        async def read() -> Poll:
            leave = await self._refresh()
            return Poll(leave, is_last=leave is not None)

        async for events in poll(self, read, polls=self.refresh_polls):
            yield events

    @rx.event
    def dismiss(self) -> None:
        """Dismiss the last result."""
        self._show(notice=Notice())

    async def _staff(self) -> tuple[StaffActor | None, EventSpec | None]:
        """The staff member right now; or where to send the tab."""
        visitor = await self._visitor()
        leave = self._leave(visitor.actor if visitor else None)
        if visitor is None or leave is not None:
            return None, leave or leave_for_sign_in(self.router.url.path)
        self._greet(visitor)
        self._owns(visitor.actor)
        staff = visitor.staff
        if staff is not None:
            allowed = [action.value for action in actions_of(staff)]
            self._show(role=formatting.ROLES[staff.role], allowed=allowed)
        self._show(is_hidden=staff is None)
        return staff, None

    async def _read_trouble(self, staff: StaffActor) -> None:
        """What needs attention now; shared by the pages of this process for a while."""
        services = get_services()
        found = await _trouble.of(
            lambda now: read_trouble(services.database, get_jobs(), services.disputes, staff, now)
        )
        count = formatting.number(found.total) if found.total else ""
        self._show(trouble=trouble_lines(found), trouble_count=count)

    async def _refresh(self) -> EventSpec | None:
        try:
            async with patience():
                return await self._read_all()
        except Exception as error:
            # Whatever it is, the page keeps what it shows, says so, and tries again.
            report = log.warning if self.is_broken else log.exception
            report("page_read_failed", page=self.__class__.__name__, error=type(error).__name__)
            at = formatting.moment(self._read_at) if self._read_at else ""
            self._show(is_broken=True, read_at=at)
        return None

    async def _read_all(self) -> EventSpec | None:
        staff, leave = await self._staff()
        if staff is not None:
            await self._read(staff)
            await self._read_trouble(staff)
        self._read_at = datetime.now(UTC)
        self._show(is_broken=False, is_ready=True)
        return leave

    async def _ask(
        self, work: Callable[[StaffActor, datetime], Awaitable[Result]]
    ) -> Result | None:
        """The service's result, or None with the error shown."""
        try:
            staff, _ = await self._staff()
            if staff is None:
                return None
            return await work(staff, datetime.now(UTC))
        except BillingError as error:
            self._show(notice=Notice(error.detail, is_bad=True))
        except Exception:
            log.exception("staff_action_failed", page=self.__class__.__name__)
            self._show(notice=Notice(FAILED, is_bad=True))
        return None
