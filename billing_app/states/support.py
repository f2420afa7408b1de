"""What support did on an account, as its holder reads it."""

from typing import Final

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.staff.audit.account_history import HistoryItem, read_account_history
from billing_app.composition import get_services
from billing_app.states import formatting
from billing_app.states.session import SessionState, leave_for_sign_in
from billing_app.states.views import SupportStep

ROWS: Final = 5


class SupportState(SessionState):
    """A page of the activity, newest first."""

    steps: rx.Field[list[SupportStep]] = rx.field(default_factory=list)
    steps_page: rx.Field[int] = rx.field(1)
    has_older_steps: rx.Field[bool] = rx.field(False)
    _cursors: tuple[str, ...] = ()
    _next_cursor: str | None = None
    _of_account: str = ""

    @rx.event
    async def ask(self) -> EventSpec | None:
        """The newest steps on the account shown."""
        self._cursors = ()
        return await self._read_steps()

    @rx.event
    async def show_older_steps(self) -> EventSpec | None:
        """The next page."""
        if self._next_cursor is None:
            return None
        self._cursors = (*self._cursors, self._next_cursor)
        return await self._read_steps()

    @rx.event
    async def show_newer_steps(self) -> EventSpec | None:
        """The page before."""
        self._cursors = self._cursors[:-1]
        return await self._read_steps()

    async def _read_steps(self) -> EventSpec | None:
        actor, account_id = await self._actor(), self.account.account_id
        if actor is None:
            return leave_for_sign_in(self.router.url.path)
        if not account_id:
            return None
        if account_id != self._of_account:
            self._of_account, self._cursors = account_id, ()
        page = await read_account_history(
            get_services().database,
            actor,
            account_id,
            limit=ROWS,
            cursor=self._cursors[-1] if self._cursors else None,
        )
        self._next_cursor = page.next_cursor
        self._show(
            steps=[_step(item) for item in page.items],
            steps_page=len(self._cursors) + 1,
            has_older_steps=page.next_cursor is not None,
        )
        return None


def _step(item: HistoryItem) -> SupportStep:
    return SupportStep(
        step_id=item.id,
        at=formatting.moment(item.at),
        title=item.what,
        reason=item.reason,
        is_undone=item.is_undone,
    )
