"""Undoing a repair, or an undo: reviewed, with a reason, once."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing import ids
from billing_app.billing.actors import StaffActor
from billing_app.billing.plans.service import read_current
from billing_app.billing.staff.audit.account_history import read_undone
from billing_app.billing.staff.audit.audit_reading import EntryView, read_entry
from billing_app.billing.staff.customers.customers import read_names
from billing_app.billing.staff.repairs import service
from billing_app.composition import get_services
from billing_app.states import formatting
from billing_app.states.session import SessionState
from billing_app.states.staff.audit_entries import entry_text, lines_of_undo, title_of_undo
from billing_app.states.staff.page import Notice

if TYPE_CHECKING:
    from billing_app.states.staff.page import StaffPage

    class Page(StaffPage, SessionState): ...
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State


class UndoMixin(Page, mixin=True):
    """A page that shows audit entries, or makes them. `undoing` is the entry of the open dialog."""

    undoing: rx.Field[str] = rx.field("")
    undo_title: rx.Field[str] = rx.field("")
    undo_lines: rx.Field[list[str]] = rx.field(default_factory=list)
    _undo_key: str = ""

    @rx.event
    async def ask_undo(self, entry_id: str) -> None:
        """Open the dialog with what the undo would change, or show why it cannot work."""

        async def work(staff: StaffActor, now: datetime) -> tuple[str, list[str]]:
            services = get_services()
            entry = await read_entry(services.database, staff, entry_id)
            result = await service.review_undo(services.repairs, staff, entry.id, now=now)
            undone = await read_undone(services.database, staff, [entry])
            lines = lines_of_undo(entry, result)
            account_id = entry.account_id
            if account_id is not None:
                names = await read_names(services.database, staff, [account_id])
                current = await read_current(services.database, staff, account_id, now)
                left = formatting.counted(current.executions_remaining, "execution")
                customer = names.get(account_id, account_id)
                lines = [f"Customer: {customer}.", *lines, f"Remaining now: {left}."]
            return title_of_undo(entry, undone), lines

        self._show(notice=Notice(), undoing="")
        asked = await self._ask(work)
        if asked is not None:
            self._undo_key = ids.new_id("ui_")
            self._show(undoing=entry_id[:255], undo_title=asked[0], undo_lines=asked[1])

    @rx.event
    def close_undo(self) -> None:
        """Close the dialog without doing anything."""
        self._put_undo_away()
        self._show(notice=Notice())

    @rx.event
    async def undo(self, form: dict[str, Any]) -> EventSpec | None:
        """Undo what was reviewed."""
        entry_id, key, reason = self.undoing, self._undo_key, str(form.get("reason", ""))
        if not entry_id or not key:
            return None

        async def work(staff: StaffActor, now: datetime) -> EntryView:
            return await service.undo(
                get_services().repairs, staff, entry_id, reason=reason, now=now, key=key
            )

        self._show(notice=Notice())
        entry = await self._ask(work)
        if entry is None:
            return None
        self._put_undo_away()
        return await self._tell(entry)

    def _put_undo_away(self) -> None:
        self._undo_key = ""
        self._show(undoing="", undo_lines=[])

    async def _tell(self, entry: EntryView, outcome: str = "") -> EventSpec | None:
        """Show what was done, and offer to undo it while that can work."""

        async def read(staff: StaffActor, _: datetime) -> tuple[EntryView, dict[str, str]]:
            database = get_services().database
            written = await read_entry(database, staff, entry.id)
            return written, await read_undone(database, staff, [entry])

        written, undone = await self._ask(read) or (entry, {})
        sentences = (
            f"{entry_text(entry, undone)}.",
            outcome,
            "Recorded in the audit log.",
        )
        text = " ".join(filter(None, sentences))
        self._show(notice=Notice(text, undo=entry.id if written.can_undo else ""))
        return await self._refresh()
