"""What the pages for signing in and up say after a post came back with an error."""

from typing import Final

import reflex as rx
import structlog
from reflex.event import EventSpec

from billing_app import routes
from billing_app.billing.passwords import MIN_LENGTH
from billing_app.states.session import SessionState

log = structlog.get_logger(__name__)

MESSAGES: Final = {
    "invalid": "The e-mail address or the password is wrong.",
    "rate_limited": "Too many attempts. Wait a few minutes, then try again.",
    "unavailable": "This e-mail address can't be used. Sign in if it is yours.",
    "invalid_email": "This doesn't look like an e-mail address.",
    "invalid_password": f"Choose a password of at least {MIN_LENGTH} characters.",
    "invalid_name": "The name is too long.",
    "unreachable": "The server can't reach its database. Nothing was done; try again in a moment.",
    "signed_out_here": "This browser is signed out. The server can't reach its database, where"
    " the session ends later by itself.",
}
UNKNOWN: Final = "That did not work. Please try again."


class DoorState(SessionState):
    """The message, and where to go once signed in."""

    message: rx.Field[str] = rx.field("")
    next_page: rx.Field[str] = rx.field(routes.DASHBOARD)

    @rx.event
    async def load(self) -> EventSpec | None:
        """Read the address; who is signed in already goes on."""
        query = self.router.url.query_parameters
        error = query.get("error", "")
        self.message = MESSAGES.get(error, UNKNOWN) if error else ""
        self.next_page = query.get("next", routes.DASHBOARD)
        try:
            is_signed_in = await self._actor() is not None
        except Exception:
            log.exception("page_read_failed", page=type(self).__name__)
            self.message = self.message or MESSAGES["unreachable"]
            return None
        return rx.redirect(routes.DASHBOARD) if is_signed_in else None
