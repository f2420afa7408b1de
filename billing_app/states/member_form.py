"""Inviting, changing roles, removing, leaving and handing over; the services authorize."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import reflex as rx
from reflex.event import EventCallback

from billing_app.billing.accounts import invitations, members
from billing_app.billing.accounts.service import ReadOnlyError
from billing_app.billing.actors import UserActor
from billing_app.billing.errors import InvalidInputError
from billing_app.composition import get_services
from billing_app.db.enums import Role
from billing_app.jobs.mail import get_mail_queue
from billing_app.states.actions import YES, Action, ActionMixin
from billing_app.states.members import MemberItem, MembersState
from billing_app.states.session import SessionState
from billing_app.states.views import Message

INVITE, ROLE, REMOVE, HAND_OVER, LEAVE = "invite", "role", "remove", "hand_over", "leave"
KINDS: Final = (INVITE, ROLE, REMOVE, HAND_OVER, LEAVE)
CHECK_EMAIL: Final = "Invitation sent"

Refresh = EventCallback[()] | None
Work = Callable[[Action], Awaitable[Message]]


class MemberFormState(ActionMixin, SessionState):
    """The dialogs of the members page, and the buttons of open invitations."""

    kind: rx.Field[str] = rx.field("")
    chosen: rx.Field[MemberItem] = rx.field(default_factory=MemberItem)

    @rx.event
    def begin(self) -> None:
        """The page was opened."""
        self._show(is_open=False, kind="", problem=Message(), done=Message())

    @rx.event
    async def ask(self, kind: str, user_id: str) -> None:
        """Open a dialog about a member, to invite somebody, or to leave."""
        listed = (await self.get_state(MembersState)).members
        found = next((each for each in listed if each.user_id == user_id), None)
        if self.pending or kind not in KINDS or (found is None and kind not in (INVITE, LEAVE)):
            return
        self._show(
            kind=kind,
            chosen=found or MemberItem(),
            is_open=True,
            of_account=self.account.account_id,
            problem=Message(),
            done=Message(),
        )

    @rx.event(background=True)
    async def invite(self, form: dict[str, Any]) -> Refresh:
        """Invite the address of the form."""
        email, role = str(form.get("email", "")), str(form.get("role", ""))

        async def work(action: Action) -> Message:
            await self._count(action, email)
            await invitations.invite(
                get_services().database,
                get_mail_queue(),
                action.actor,
                action.account_id,
                email=email,
                role=_role(role),
                now=action.now,
            )
            return Message("good", CHECK_EMAIL, f"{email.strip()} has a week to accept it.")

        return await self._carry_out(YES, work)

    @rx.event(background=True)
    async def change_role(self, form: dict[str, Any]) -> Refresh:
        """Give the chosen member the role of the form."""
        user_id, name, role = self.chosen.user_id, self.chosen.name, str(form.get("role", ""))

        async def work(action: Action) -> Message:
            wanted, database = _role(role), get_services().database
            await members.change_role(
                database, action.actor, action.account_id, user_id, wanted, action.now
            )
            return Message("good", "Role changed", f"{name} is {members.AS_ROLE[wanted]} now.")

        return await self._carry_out(YES, work)

    @rx.event(background=True)
    async def remove(self) -> Refresh:
        """Remove the chosen member."""
        user_id, name = self.chosen.user_id, self.chosen.name

        async def work(action: Action) -> Message:
            database = get_services().database
            await members.remove_member(
                database, action.actor, action.account_id, user_id, action.now
            )
            return Message("good", f"{name} was removed", "They can no longer see this account.")

        return await self._carry_out(YES, work)

    @rx.event(background=True)
    async def hand_over(self) -> Refresh:
        """Ask the chosen member to become owner in the viewer's place."""
        user_id, name = self.chosen.user_id, self.chosen.name

        async def work(action: Action) -> Message:
            await invitations.offer_ownership(
                get_services().database,
                get_mail_queue(),
                action.actor,
                action.account_id,
                user_id=user_id,
                now=action.now,
            )
            text = f"Nothing changes until {name} accepts."
            return Message("good", f"We asked {name} by email", text)

        return await self._carry_out(YES, work)

    @rx.event(background=True)
    async def leave(self) -> Refresh:
        """Leave the organization."""

        async def work(action: Action) -> Message:
            database = get_services().database
            await members.leave(database, action.actor, action.account_id, action.now)
            return Message("good", "You left the organization")

        return await self._carry_out(YES, work)

    @rx.event(background=True)
    async def send_again(self, invitation_id: str) -> Refresh:
        """Mail a new link for an open invitation."""

        async def work(action: Action) -> Message:
            database, queue = get_services().database, get_mail_queue()
            actor, account_id, now = action.actor, action.account_id, action.now
            address = await invitations.address_of(database, actor, account_id, invitation_id)
            await self._count(action, address)
            await invitations.send_again(database, queue, actor, account_id, invitation_id, now)
            return Message("good", CHECK_EMAIL, "Earlier links no longer work.")

        return await self._carry_out(f"again {invitation_id}"[:64], work)

    @rx.event(background=True)
    async def withdraw(self, invitation_id: str) -> Refresh:
        """Void an open invitation."""

        async def work(action: Action) -> Message:
            await invitations.withdraw_invitation(
                get_services().database,
                action.actor,
                action.account_id,
                invitation_id,
                action.now,
            )
            return Message("good", "Invitation withdrawn", "Its link no longer works.")

        return await self._carry_out(f"withdraw {invitation_id}"[:64], work)

    def _show_problem(self, message: Message) -> None:
        """In the dialog if one is open, else on the page."""
        self._show(**{"problem" if self.is_open else "done": message})

    async def _carry_out(self, name: str, work: Work) -> Refresh:
        action = await self._start_action(name)
        if action is None:
            return None
        done = await self._try(work, action)
        if done is None:
            return None
        await self._finish(done)
        return MembersState.load

    async def _count(self, action: Action, email: str) -> None:
        """Raises TooManyAttemptsError, ReadOnlyError."""
        if not isinstance(action.actor, UserActor):
            raise ReadOnlyError
        await get_services().attempts.check_invitation(
            action.actor.user_id, email.strip().lower(), action.now
        )


def _role(text: str) -> Role:
    if text not in set(Role):
        raise InvalidInputError("Choose a role.", field="role")
    return Role(text)
