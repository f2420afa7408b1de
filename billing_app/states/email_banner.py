"""The banner that asks people to confirm their e-mail address."""

from typing import Final

import reflex as rx

from billing_app.billing.accounts.service import ReadOnlyError
from billing_app.billing.actors import UserActor
from billing_app.billing.identity import email_changes
from billing_app.composition import get_services
from billing_app.jobs.mail import get_mail_queue
from billing_app.states.actions import Action, ActionMixin
from billing_app.states.session import SessionState
from billing_app.states.views import Message

SEND_AGAIN: Final = "welcome_again"


class EmailBannerState(ActionMixin, SessionState):
    """Its button."""

    @rx.event(background=True)
    async def send_again(self) -> None:
        """Mail the viewer another link."""
        action = await self._start_action(SEND_AGAIN)
        if action is None:
            return
        done = await self._try(self._send_again, action)
        if done is not None:
            await self._finish(done)

    async def _send_again(self, action: Action) -> Message:
        actor, services = action.actor, get_services()
        if not isinstance(actor, UserActor):
            raise ReadOnlyError
        await services.attempts.check_email_link(
            actor.user_id, actor.email.lower(), self.router.session.client_ip, action.now
        )
        queue = get_mail_queue()
        if not await email_changes.welcome_again(services.database, queue, actor, action.now):
            return Message("good", "Your email address is confirmed")
        return Message("good", "We emailed a new link", "Earlier links no longer work.")
