"""The bell of every page: the newest alerts of the person who is signed in."""

from datetime import UTC, datetime
from typing import Final

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.actors import PersonActor, UserActor
from billing_app.billing.alerts import service as alerts
from billing_app.billing.alerts.links import LINKS
from billing_app.billing.alerts.service import AlertView
from billing_app.composition import get_services
from billing_app.states import formatting
from billing_app.states.alert_views import AlertItem, alert_item
from billing_app.states.session import SessionState, patience

SHOWN: Final = 8
MOST: Final = 99


class BellState(SessionState):
    """Pages refresh it as they poll (change_polling.py). Alerts are delivered to users, so people
    of a portal link, and staff who view an account, have no bell."""

    is_shown: rx.Field[bool] = rx.field(False)
    count: rx.Field[str] = rx.field("")
    label: rx.Field[str] = rx.field("Alerts")
    news: rx.Field[str] = rx.field("")
    items: rx.Field[list[AlertItem]] = rx.field(default_factory=list)
    _unread: frozenset[str] = frozenset()

    @rx.event
    async def mark_all_read(self) -> None:
        """Mark all alerts of the viewer as read."""
        await self._mark(None)

    @rx.event
    async def open_alert(self, alert_id: str) -> EventSpec | None:
        """Mark it as read, and go where something can be done about it."""
        found = await self._mark(alert_id)
        if found is None:
            return None
        session = await self.get_state(SessionState)
        session._account_id = found.account_id  # noqa: SLF001
        return rx.redirect(LINKS[found.kind].page)

    async def refresh(self, actor: PersonActor) -> None:
        """Raises what the database raises."""
        if not isinstance(actor, UserActor):
            self._show(is_shown=False, items=[], count="")
            return
        database = get_services().database
        views = await alerts.list_bell(database, actor)
        unread = await alerts.count_unread(database, actor)
        names = {each.account_id: each.name for each in self.accounts}
        self._unread = frozenset(view.id for view in views if view.read_at is None)
        self._show(
            is_shown=True,
            count=_count(unread),
            label=f"Alerts: {formatting.number(unread)} unread" if unread else "Alerts",
            news=f"{formatting.counted(unread, 'unread alert')}" if unread else "",
            items=[
                alert_item(
                    view,
                    is_unread=view.read_at is None,
                    names=names if len(names) > 1 else None,
                )
                for view in views[:SHOWN]
            ],
        )

    def is_unread(self, alert_id: str) -> bool:
        return alert_id in self._unread

    async def _mark(self, alert_id: str | None) -> AlertView | None:
        """Mark one as read, or all; the one, if it is the viewer's."""
        actor = await self._actor()
        if not isinstance(actor, UserActor):
            return None
        database, only = get_services().database, None if alert_id is None else [alert_id]
        async with patience():
            await alerts.mark_read(database, actor, datetime.now(UTC), only)
            views = await alerts.list_bell(database, actor)
            await self.refresh(actor)
        return next((view for view in views if view.id == alert_id), None)


def _count(unread: int) -> str:
    if not unread:
        return ""
    return formatting.number(unread) if unread <= MOST else f"{MOST}+"
