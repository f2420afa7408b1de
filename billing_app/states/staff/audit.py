"""The audit log: everything staff did."""

from typing import Any, ClassVar

import reflex as rx

from billing_app.billing.actors import StaffActor
from billing_app.billing.lists.paging import Page
from billing_app.billing.lists.sorting import By
from billing_app.billing.staff.access.members import list_members
from billing_app.billing.staff.audit.account_history import read_undone
from billing_app.billing.staff.audit.audit_reading import (
    EntryQuery,
    EntrySort,
    EntryView,
    list_entries,
)
from billing_app.billing.staff.customers.customers import read_names
from billing_app.composition import get_services
from billing_app.states.session import SessionState
from billing_app.states.staff.audit_entries import entry_line
from billing_app.states.staff.listing import Listing, Table
from billing_app.states.staff.page import StaffPage
from billing_app.states.staff.undo import UndoMixin
from billing_app.states.staff.views import EntryLine

AUDIT = "audit"
BY, ACTION, ACCOUNT = "by", "action", "account"


class StaffAuditState(UndoMixin, Listing, StaffPage, SessionState):
    """Entries by person, kind of action, account and days."""

    tables: ClassVar[dict[str, Table]] = {
        AUDIT: Table(By(EntrySort.AT, descending=True), rising=frozenset({EntrySort.ACTION}))
    }

    rows: rx.Field[list[EntryLine]] = rx.field(default_factory=list)
    people: rx.Field[list[tuple[str, str]]] = rx.field(default_factory=list)

    async def _read(self, staff: StaffActor) -> None:
        database = get_services().database
        members = await list_members(database, staff)

        async def read(**page: Any) -> Page[EntryView]:
            where = EntryQuery(
                actor_id=self._text(AUDIT, BY),
                action=self._text(AUDIT, ACTION),
                account_id=self._text(AUDIT, ACCOUNT),
                days=self._days(AUDIT),
            )
            return await list_entries(database, staff, where, **page)

        entries = await self._list(AUDIT, read)
        undone = await read_undone(database, staff, entries)
        names = await read_names(database, staff, [entry.account_id for entry in entries])
        self._show(
            rows=[entry_line(entry, staff, undone, names) for entry in entries],
            people=[(member.user_id, member.name or member.email) for member in members],
        )
