"""Undoing a repair with one click."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.actors import StaffActor
from billing_app.billing.staff.audit.account_history import read_undone
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs import service
from billing_app.composition import get_services
from billing_app.states.session import SessionState
from billing_app.states.staff.audit_entries import entry_text
from billing_app.states.staff.page import Notice

if TYPE_CHECKING:
    from billing_app.states.staff.page import StaffPage

    class Page(StaffPage, SessionState): ...
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State

MAX_REMEMBERED: Final = 50
UNDO_REASON: Final = "Undone in the console."


class UndoMixin(Page, mixin=True):
    """A page that shows audit entries, or makes them."""

    _undone: list[str] = []

    @rx.event
    async def undo(self, entry_id: str) -> EventSpec | None:
        """Undo a repair with a compensating one; a second press finds it undone."""
        if entry_id in self._undone:
            return None

        async def work(staff: StaffActor, now: datetime) -> EntryView:
            return await service.undo(
                get_services().repairs, staff, entry_id, reason=UNDO_REASON, now=now
            )

        self._show(notice=Notice())
        entry = await self._ask(work)
        if entry is None:
            return None
        self._undone = [*self._undone, entry_id][-MAX_REMEMBERED:]
        return await self._tell(replace(entry, can_undo=False))

    async def _tell(self, entry: EntryView, outcome: str = "") -> EventSpec | None:
        """Show what was done, and offer to undo it."""

        async def read(staff: StaffActor, _: datetime) -> dict[str, str]:
            return await read_undone(get_services().database, staff, [entry])

        undone = await self._ask(read) if entry.undoes else None
        sentences = (
            f"{entry_text(entry, undone or {})}.",
            outcome,
            "Recorded in the audit log.",
        )
        text = " ".join(filter(None, sentences))
        self._show(notice=Notice(text, undo=entry.id if entry.can_undo else ""))
        return await self._refresh()
