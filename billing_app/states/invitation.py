"""What the page of an invitation shows."""

from datetime import UTC, datetime
from urllib.parse import urlencode

import reflex as rx
import structlog

from billing_app import routes
from billing_app.billing.accounts.invitation_links import Invited, invitation_of_link
from billing_app.billing.accounts.members import AS_ROLE
from billing_app.billing.actors import UserActor
from billing_app.composition import get_services
from billing_app.states.auth_forms import MESSAGES, AuthFormState

log = structlog.get_logger(__name__)


class InvitationState(AuthFormState):
    """Only who has the link gets here; accepting it authorizes itself."""

    invited_title: rx.Field[str] = rx.field("")
    invited_text: rx.Field[str] = rx.field("")
    invited_email: rx.Field[str] = rx.field("")
    signed_in_as: rx.Field[str] = rx.field("")
    sign_in_url: rx.Field[str] = rx.field("")
    sign_up_url: rx.Field[str] = rx.field("")

    @rx.event
    async def load_invitation(self) -> None:
        """Read what the link is for, and who is signed in."""
        self._read_address()
        self.link = self.router.url.query_parameters.get("link", "")
        back = urlencode({"next": f"{routes.INVITATION}?{urlencode({'link': self.link})}"})
        self._show(sign_in_url=f"{routes.SIGN_IN}?{back}", sign_up_url=f"{routes.SIGN_UP}?{back}")
        try:
            database, now = get_services().database, datetime.now(UTC)
            invited = await invitation_of_link(database, self.link, now) if self.link else None
            actor = await self._actor()
        except Exception:
            log.exception("page_read_failed", page=type(self).__name__)
            self.error = self.error or MESSAGES["unreachable"]
            return
        if self.link and invited is None and not self.error:
            self.error = MESSAGES["invitation_expired"]
        self._tell(invited, actor.email if isinstance(actor, UserActor) else "")

    def _tell(self, invited: Invited | None, email: str) -> None:
        if invited is None:
            self._show(invited_title="", invited_text="", invited_email="", signed_in_as=email)
            return
        role = AS_ROLE[invited.role]
        text = (
            f"{invited.invited_by} asks you to become its owner in their place."
            if invited.hands_over
            else f"{invited.invited_by} invited you to join as {role}."
        )
        self._show(
            invited_title=invited.organization,
            invited_text=text,
            invited_email=invited.email,
            signed_in_as=email,
        )

    @rx.var
    def is_other_address(self) -> bool:
        """Somebody else is signed in here."""
        return self.signed_in_as != "" and self.signed_in_as.lower() != self.invited_email.lower()
