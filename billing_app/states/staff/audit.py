"""The audit log: everything the staff did."""

import reflex as rx

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.staff.audit_log import list_entries
from billing_app.billing.staff.members import list_members
from billing_app.composition import get_services
from billing_app.states.session import SessionState
from billing_app.states.staff.entries import entry_line
from billing_app.states.staff.listing import ROWS, Listing
from billing_app.states.staff.page import StaffPage
from billing_app.states.staff.undo import Undoing
from billing_app.states.staff.views import EntryLine

BY, ACTION = "by", "action"


class StaffAuditState(Undoing, Listing, StaffPage, SessionState):
    """Entries by person and kind of action; the search box takes an account's id."""

    rows: rx.Field[list[EntryLine]] = rx.field(default_factory=list)
    people: rx.Field[list[tuple[str, str]]] = rx.field(default_factory=list)

    async def _read(self, staff: StaffActor) -> None:
        database = get_services().database
        members = await list_members(database, staff)
        try:
            page = await list_entries(
                database,
                staff,
                by=self.filters.get(BY),
                action=self.filters.get(ACTION),
                account_id=self.search.strip() or None,
                limit=ROWS,
                cursor=self._cursor,
            )
        except InvalidInputError:
            self._start_over()
            return
        self._show(
            rows=[entry_line(entry, staff.role) for entry in page.items],
            people=[(member.user_id, member.name or member.email) for member in members],
        )
        self._show_page(page)
