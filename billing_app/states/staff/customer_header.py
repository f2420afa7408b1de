"""The header of one account's page: who it is, what it has, and why executions are refused."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import reflex as rx

from billing_app.billing.actors import StaffActor
from billing_app.billing.plans import service as plans
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.audit_reading import EntryQuery, list_entries
from billing_app.billing.staff.customers import account as accounts
from billing_app.billing.staff.customers.customers import CustomerRow
from billing_app.billing.staff.operations.provider_events import count_dead
from billing_app.billing.staff.repairs.plan_rows import MAX_PLANS
from billing_app.billing.staff.repairs.stops import plans_in_force
from billing_app.billing.subscriptions.account_alerts import read_stop
from billing_app.billing.subscriptions.account_summary import read_summary
from billing_app.billing.subscriptions.forecast import read_pace
from billing_app.composition import get_services
from billing_app.states.staff import customer_views as draw
from billing_app.states.staff.account_alerts import alert_of, dispute_lines, stuck_text
from billing_app.states.staff.repairs import RepairMixin
from billing_app.states.staff.views import CustomerHead, DisputeLine

if TYPE_CHECKING:

    class Page(RepairMixin): ...
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State


class CustomerHeaderMixin(Page, mixin=True):
    """A page's state inherits from this before RepairMixin, and says which account is open."""

    head: rx.Field[CustomerHead] = rx.field(default_factory=CustomerHead)
    stuck: rx.Field[str] = rx.field("")
    disputes: rx.Field[list[DisputeLine]] = rx.field(default_factory=list)
    has_subscription: rx.Field[bool] = rx.field(False)

    async def _read_head(self, staff: StaffActor) -> None:
        services, now = get_services(), datetime.now(UTC)
        database, account_id = services.database, self._customer_id
        identity = await accounts.read_identity(database, services.links, staff, account_id, now)
        summary = await read_summary(database, staff, account_id, now)
        pace = await read_pace(database, staff, summary)
        rows = await accounts.list_subscriptions(database, services.links, staff, account_id)
        live = next((row for row in rows if row.ended_at is None), None)
        self._is_own = identity.is_own
        self._offer = (live.offer.code, live.offer.version) if live else None
        self._is_cancelled = live is not None and live.cancel_at_period_end
        head = draw.customer_head(identity, summary, pace, live)
        self._customer = f"{head.name} ({head.email})" if head.email else head.name
        if head.is_blocked:
            history = await plans.read_history(
                database, staff, account_id, now=now, limit=MAX_PLANS
            )
            head = draw.blocked_head(head, plans_in_force(history.items, now))
        head = await self._with_alert(staff, head, identity.row, now)
        self._show(head=head, has_subscription=bool(rows))

    async def _with_alert(
        self, staff: StaffActor, head: CustomerHead, row: CustomerRow, now: datetime
    ) -> CustomerHead:
        """Why executions are refused; read only for an account with an alert."""
        services, account_id, stop = get_services(), self._customer_id, None
        disputes = await services.disputes.read(staff, account_id, now)
        if disputes or row.past_due_since is not None:
            stop = await read_stop(services.database, staff, account_id, now)
        reason = await self._why_blocked(staff) if row.blocked_at is not None else ""
        title, explanation = alert_of(row, stop, reason)
        dead = await count_dead(services.database, staff, account_id)
        self._show(disputes=dispute_lines(disputes, stop, now), stuck=stuck_text(dead))
        return replace(head, alert=title, alert_text=explanation)

    async def _why_blocked(self, staff: StaffActor) -> str:
        where = EntryQuery(action=Action.BLOCK, account_id=self._customer_id)
        entries = await list_entries(get_services().database, staff, where, limit=1)
        return entries.items[0].reason if entries.items else ""
