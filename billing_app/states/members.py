"""The people of the organization that is shown, and its open invitations."""

from dataclasses import dataclass
from datetime import UTC, datetime

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.accounts.invitations import InvitationView, list_invitations
from billing_app.billing.accounts.members import AS_ROLE, ROLE_NAMES, MemberView, list_members
from billing_app.billing.actors import PersonActor, UserActor, ViewingActor
from billing_app.composition import get_services
from billing_app.db.enums import Role
from billing_app.states import formatting
from billing_app.states.change_polling import LivePage
from billing_app.states.session import SessionState
from billing_app.states.views import AccountChoice


@dataclass(frozen=True, slots=True)
class MemberItem:
    """`may_change`: the viewer may set another role, or remove them; `may_take_over`: be asked to
    become owner in the viewer's place."""

    user_id: str = ""
    name: str = ""
    email: str = ""
    role: str = ""
    role_name: str = ""
    initials: str = ""
    since: str = ""
    is_viewer: bool = False
    may_change: bool = False
    may_take_over: bool = False


@dataclass(frozen=True, slots=True)
class InvitationItem:
    id: str = ""
    email: str = ""
    what: str = ""
    status: str = ""
    tone: str = ""
    invited_by: str = ""


class MembersState(LivePage, SessionState):
    """Members for whoever may see the account; invitations for those who may manage it."""

    members: rx.Field[list[MemberItem]] = rx.field(default_factory=list)
    invitations: rx.Field[list[InvitationItem]] = rx.field(default_factory=list)
    is_personal: rx.Field[bool] = rx.field(False)
    is_owner: rx.Field[bool] = rx.field(False)
    may_leave: rx.Field[bool] = rx.field(False)
    may_invite: rx.Field[bool] = rx.field(False)
    page_number: rx.Field[int] = rx.field(1)
    has_more: rx.Field[bool] = rx.field(False)
    _cursors: tuple[str, ...] = ()
    _next_cursor: str | None = None
    _listed_for: str = ""

    @rx.event
    async def show_next(self) -> EventSpec | None:
        """The next page of members."""
        if self._next_cursor is not None:
            self._cursors = (*self._cursors, self._next_cursor)
        return await self._refresh()

    @rx.event
    async def show_previous(self) -> EventSpec | None:
        """The page before."""
        self._cursors = self._cursors[:-1]
        return await self._refresh()

    async def _read(self, actor: PersonActor, account: AccountChoice) -> None:
        if self._listed_for != account.account_id:
            self._cursors, self._listed_for = (), account.account_id
        if not account.organization_id:
            self._show(is_personal=True, members=[], invitations=[], may_leave=False)
            return
        database, now = get_services().database, datetime.now(UTC)
        cursor = self._cursors[-1] if self._cursors else None
        page = await list_members(database, actor, account.account_id, cursor=cursor)
        open_ones: list[InvitationView] = []
        if account.may_manage or isinstance(actor, ViewingActor):
            open_ones = await list_invitations(database, actor, account.account_id, now)
        is_owner = account.role == Role.OWNER and isinstance(actor, UserActor)
        self._next_cursor = page.next_cursor
        self._show(
            is_personal=False,
            is_owner=is_owner,
            may_leave=isinstance(actor, UserActor),
            may_invite=account.may_manage and isinstance(actor, UserActor),
            members=[member_item(view, is_owner=is_owner) for view in page.items],
            invitations=[invitation_item(view) for view in open_ones],
            has_more=page.next_cursor is not None,
            page_number=len(self._cursors) + 1,
        )


def member_item(view: MemberView, *, is_owner: bool) -> MemberItem:
    name = view.name or view.email or view.user_id
    return MemberItem(
        user_id=view.user_id,
        name=name,
        email=view.email if view.email != name else "",
        role=view.role.value,
        role_name=ROLE_NAMES[view.role].capitalize(),
        initials=formatting.initials(name),
        since=f"Since {formatting.day(view.since)}",
        is_viewer=view.is_viewer,
        may_change=view.may_change,
        may_take_over=is_owner and not view.is_viewer and view.email != "",
    )


def invitation_item(view: InvitationView) -> InvitationItem:
    until = formatting.day(view.expires_at)
    what = "Asked to take over" if view.hands_over else f"As {AS_ROLE[view.role]}"
    return InvitationItem(
        id=view.id,
        email=view.email,
        what=what,
        status="Expired" if view.has_expired else f"Open until {until}",
        tone="bad" if view.has_expired else "warning",
        invited_by=f"by {view.invited_by}" if view.invited_by else "",
    )
