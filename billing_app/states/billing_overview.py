"""What the overview of plans shows."""

from datetime import UTC, datetime

import reflex as rx

from billing_app.billing import plans
from billing_app.billing.actors import PersonActor
from billing_app.composition import get_services
from billing_app.states.balance import plan_facts, plan_row
from billing_app.states.live import LivePage
from billing_app.states.session import SessionState
from billing_app.states.views import AccountChoice, PlanFacts, PlanRow

HISTORY_ROWS = 10


class BillingOverviewState(LivePage, SessionState):
    """The plan in force, what comes next, and what there was."""

    has_plan: rx.Field[bool] = rx.field(False)
    facts: rx.Field[PlanFacts] = rx.field(default_factory=PlanFacts)
    queue: rx.Field[list[PlanRow]] = rx.field(default_factory=list)
    history: rx.Field[list[PlanRow]] = rx.field(default_factory=list)
    page_number: rx.Field[int] = rx.field(1)
    has_older: rx.Field[bool] = rx.field(False)
    _cursors: tuple[str, ...] = ()
    _next_cursor: str | None = None
    _listed: str = ""

    @rx.event
    async def show_older(self) -> None:
        """The next page of the history."""
        if self._next_cursor is not None:
            self._cursors = (*self._cursors, self._next_cursor)
            await self._refresh()

    @rx.event
    async def show_newer(self) -> None:
        """The page before."""
        if self._cursors:
            self._cursors = self._cursors[:-1]
            await self._refresh()

    async def _read(self, actor: PersonActor, account: AccountChoice) -> None:
        database, now = get_services().database, datetime.now(UTC)
        if self._listed != account.account_id:
            self._listed, self._cursors = account.account_id, ()
        current = await plans.read_current(database, actor, account.account_id, now)
        history = await plans.read_history(
            database,
            actor,
            account.account_id,
            now=now,
            limit=HISTORY_ROWS,
            cursor=self._cursors[-1] if self._cursors else None,
        )
        in_force = [current.plan] if current.plan else []
        self._next_cursor = history.next_cursor
        self._show(
            has_plan=current.plan is not None,
            facts=plan_facts(current, now),
            queue=[plan_row(plan) for plan in [*in_force, *current.upcoming]],
            history=[plan_row(plan) for plan in history.items],
            page_number=len(self._cursors) + 1,
            has_older=history.next_cursor is not None,
        )
