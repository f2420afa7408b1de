"""Staff members and their roles."""

from datetime import datetime
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.actors import StaffActor
from billing_app.billing.lists.paging import Page
from billing_app.billing.lists.sorting import By
from billing_app.billing.staff.access import members
from billing_app.billing.staff.access.members import AddedMember, MemberSort, MemberView
from billing_app.composition import get_services
from billing_app.db.enums import StaffRole
from billing_app.states import formatting
from billing_app.states.session import SessionState
from billing_app.states.staff.listing import Listing, Table
from billing_app.states.staff.page import Notice, StaffPage
from billing_app.states.staff.views import MemberRow

ADD, CHANGE, REMOVE = "add", "change", "remove"
MEMBERS = "members"
LETTERS, ROLE = "letters", "role"


class StaffTeamState(Listing, StaffPage, SessionState):
    """The members and the open dialog."""

    tables: ClassVar[dict[str, Table]] = {
        MEMBERS: Table(By(MemberSort.NAME), rising=frozenset(MemberSort))
    }

    rows: rx.Field[list[MemberRow]] = rx.field(default_factory=list)
    dialog: rx.Field[str] = rx.field("")
    chosen: rx.Field[str] = rx.field("")
    chosen_name: rx.Field[str] = rx.field("")
    chosen_role: rx.Field[str] = rx.field("")
    password: rx.Field[str] = rx.field("")

    @rx.event
    def ask(self, dialog: str, user_id: str) -> None:
        """Open a dialog."""
        row = next((row for row in self.rows if row.user_id == user_id), None)
        self._show(
            dialog=dialog if dialog in {ADD, CHANGE, REMOVE} else "",
            chosen=row.user_id if row else "",
            chosen_name=(row.name or row.email) if row else "",
            chosen_role=row.role if row else StaffRole.SUPPORT.value,
            notice=Notice(),
            password="",
        )

    @rx.event
    def close(self) -> None:
        """Close the dialog without doing anything."""
        if self.dialog:
            self._show(dialog="", password="", notice=Notice())

    @rx.event
    async def add(self, form: dict[str, Any]) -> EventSpec | None:
        """Add a staff member."""
        if self.dialog != ADD:
            return None

        async def work(staff: StaffActor, now: datetime) -> AddedMember:
            return await members.add_member(
                get_services().database,
                staff,
                email=str(form.get("email", "")),
                role=_role(form),
                reason=str(form.get("reason", "")),
                now=now,
            )

        added = await self._ask(work)
        if added is None:
            return None
        self._show(dialog="", password=added.password or "")
        return await self._done("Staff member added.")

    @rx.event
    async def change(self, form: dict[str, Any]) -> EventSpec | None:
        """Change the chosen member's role."""
        if self.dialog != CHANGE:
            return None
        user_id = self.chosen

        async def work(staff: StaffActor, now: datetime) -> bool:
            await members.change_role(
                get_services().database,
                staff,
                user_id=user_id,
                role=_role(form),
                reason=str(form.get("reason", "")),
                now=now,
            )
            return True

        if not await self._ask(work):
            return None
        return await self._done(f"{self.chosen_name} now has the role {_role(form)}.")

    @rx.event
    async def remove(self, form: dict[str, Any]) -> EventSpec | None:
        """Remove the chosen member."""
        if self.dialog != REMOVE:
            return None
        user_id = self.chosen

        async def work(staff: StaffActor, now: datetime) -> bool:
            await members.remove_member(
                get_services().database,
                staff,
                user_id=user_id,
                reason=str(form.get("reason", "")),
                now=now,
            )
            return True

        if not await self._ask(work):
            return None
        return await self._done(f"{self.chosen_name} was removed from staff.")

    def _open(self) -> None:
        """A password is shown once, not after a reload."""
        self._show(dialog="", password="")

    async def _done(self, text: str) -> EventSpec | None:
        self._show(dialog="", notice=Notice(text))
        return await self._refresh()

    async def _read(self, staff: StaffActor) -> None:
        async def read(**page: Any) -> Page[MemberView]:
            return await members.search_members(
                get_services().database,
                staff,
                query=self._text(MEMBERS, LETTERS) or "",
                role=self._word(MEMBERS, ROLE, StaffRole),
                **page,
            )

        member_views = await self._list(MEMBERS, read)
        self._show(rows=[_row(member, staff) for member in member_views])


def _role(form: dict[str, Any]) -> StaffRole:
    role = str(form.get("role", ""))
    return StaffRole(role) if role in set(StaffRole) else StaffRole.SUPPORT


def _row(member: MemberView, staff: StaffActor) -> MemberRow:
    return MemberRow(
        user_id=member.user_id,
        name=member.name or member.email,
        email=member.email,
        role=member.role.value,
        role_name=formatting.ROLES[member.role],
        added=formatting.day(member.added_at),
        is_viewer=member.user_id == staff.actor_id,
    )
