"""What the pages for signing in and up, and for a new password, say after a post came back."""

from datetime import UTC, datetime
from typing import Final

import reflex as rx
import structlog
from reflex.event import EventSpec

from billing_app import routes
from billing_app.billing.identity.password_hashing import MIN_LENGTH
from billing_app.billing.identity.password_resets import email_of_link
from billing_app.composition import get_services
from billing_app.states.session import SessionState, leave_for_sign_in

log = structlog.get_logger(__name__)

MESSAGES: Final = {
    "invalid": "The e-mail address or the password is wrong.",
    "rate_limited": "Too many attempts. Wait a few minutes, then try again.",
    "unavailable": "This e-mail address can't be used. Sign in if it is yours.",
    "invalid_email": "This doesn't look like an e-mail address.",
    "invalid_password": f"Choose a password of at least {MIN_LENGTH} characters.",
    "invalid_name": "The name is too long.",
    "wrong_password": "This is not your current password.",
    "link_over": "This link is over: used, older than an hour, or another one was opened after it."
    " Ask for a new one.",
    "no_mail": "This site sends no mail yet. Ask whoever runs it for a new password.",
    "unreachable": "The server can't reach its database. Nothing was done; try again in a moment.",
    "signed_out_here": "This browser is signed out. The server can't reach its database, where"
    " the session ends later by itself.",
}
SAID: Final = {
    "mailed": (
        "Check your e-mail",
        "If an account uses this address, a link is on its way. It works once, for an hour.",
    ),
    "changed": ("Your password is changed", "Every other browser was signed out."),
}
UNKNOWN: Final = "That did not work. Please try again."


class AuthFormState(SessionState):
    """The message, good or bad, and where to go once signed in."""

    message: rx.Field[str] = rx.field("")
    said: rx.Field[str] = rx.field("")
    said_words: rx.Field[str] = rx.field("")
    next_page: rx.Field[str] = rx.field(routes.DASHBOARD)
    link: rx.Field[str] = rx.field("")
    whose: rx.Field[str] = rx.field("")

    @rx.event
    async def load(self) -> EventSpec | None:
        """Read the address; who is signed in already goes on."""
        self._read_address()
        return rx.redirect(routes.DASHBOARD) if await self._is_signed_in() else None

    @rx.event
    def load_for_anybody(self) -> None:
        """Read the address; signed in or not, the form is for whoever comes."""
        self._read_address()

    @rx.event
    async def load_link(self) -> None:
        """Read the address, and say whose password it is."""
        self._read_address()
        self.link = self.router.url.query_parameters.get("link", "")
        try:
            whose = await email_of_link(get_services().database, self.link, datetime.now(UTC))
        except Exception:
            log.exception("page_read_failed", page=type(self).__name__)
            self.message = self.message or MESSAGES["unreachable"]
            return
        self.whose = f"For {whose}. " if whose else ""

    @rx.event
    async def load_for_signed_in(self) -> EventSpec | None:
        """Read the address; who is not signed in does that first."""
        self._read_address()
        if await self._is_signed_in() is False:
            return leave_for_sign_in(self.router.url.path)
        return None

    def _read_address(self) -> None:
        query = self.router.url.query_parameters
        error = query.get("error", "")
        self.message = MESSAGES.get(error, UNKNOWN) if error else ""
        said = "" if error else query.get("said", "")
        self.said, self.said_words = SAID.get(said, ("", ""))
        self.next_page = query.get("next", routes.DASHBOARD)

    async def _is_signed_in(self) -> bool | None:
        """None, and that is told, when nobody can say."""
        try:
            return await self._actor() is not None
        except Exception:
            log.exception("page_read_failed", page=type(self).__name__)
            self.message = self.message or MESSAGES["unreachable"]
            return None
