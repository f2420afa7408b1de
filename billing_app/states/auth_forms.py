"""What the pages for sign-in, sign-up and passwords show when a posted form comes back."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import reflex as rx
import structlog
from reflex.event import EventSpec

from billing_app import routes
from billing_app.billing.alerts import preferences
from billing_app.billing.identity import email_links
from billing_app.billing.identity.password_hashing import MIN_LENGTH
from billing_app.billing.identity.password_resets import email_of_link
from billing_app.composition import get_services
from billing_app.db.engine import Database
from billing_app.states import formatting
from billing_app.states.session import SessionState, leave_for_sign_in

log = structlog.get_logger(__name__)

MEND: Final = " Choose three or four words that have nothing to do with each other."
MESSAGES: Final = {
    "invalid": "The email address or password is wrong.",
    "rate_limited": "Too many attempts. Try again in {wait}.",
    "unavailable": "This email address can't be used. If it is yours, sign in instead.",
    "invalid_email": "Enter a valid email address.",
    "invalid_password": f"Choose a password with at least {MIN_LENGTH} characters.",
    "common_password": "This password, or much of it, is among the most common ones." + MEND,
    "personal_password": "This password is mostly your name or email address." + MEND,
    "word_password": "One word is easy to guess, even with digits after it." + MEND,
    "name_password": "Names are easy to guess, even with digits after them." + MEND,
    "repeated_password": "Repeated characters or words are easy to guess." + MEND,
    "sequence_password": "Rows like abcd or 6543 are easy to guess." + MEND,
    "keyboard_password": "Rows of neighboring keys are easy to guess." + MEND,
    "date_password": "Dates and years are easy to guess." + MEND,
    "simple_password": "This password is easy to guess." + MEND,
    "invalid_name": "This name is too long.",
    "wrong_password": "This is not your current password.",
    "link_over": "This link has expired: it was used, is older than an hour, or a newer link"
    " was opened. Ask for a new one.",
    "email_link_expired": "This link has expired: it was used or withdrawn, is too old, or a"
    " newer link was sent. Nothing was changed.",
    "invitation_expired": "This invitation has expired: it was accepted, declined or withdrawn, is"
    " older than a week, or a newer one was sent. Ask for a new one.",
    "invited_other_address": "This invitation is for another email address than the one that you"
    " are signed in with.",
    "portal_link_expired": "This link has expired or was used already. Go back to where you came"
    " from, and open billing from there again.",
    "unsubscribe_link_unknown": "This link does not unsubscribe anybody: it is incomplete, or was"
    " not sent by this site. Sign in to choose which alerts you get.",
    "email_taken": "Someone else uses this email address now. Nothing was changed.",
    "no_mail": "This site can't send email yet. Ask its administrator for a new password.",
    "unreachable": "The server can't reach its database. Nothing was changed. Try again shortly.",
    "signed_out_here": "This browser is signed out. The server can't reach its database;"
    " the session will expire there later.",
}
SUCCESSES: Final = {
    "unsubscribed": (
        "You are unsubscribed",
        "You still see alerts in the app, where you can turn emails on again.",
    ),
    "mailed": (
        "Check your email",
        "If an account uses this address, a link is on its way. It works once, within an hour.",
    ),
    "declined": ("Invitation declined", "Nothing was changed."),
    "confirmed": ("Email address confirmed", "It is used from now on."),
    "changed": ("Your password was changed", "Every other browser was signed out."),
}
UNKNOWN: Final = "Something went wrong. Please try again."


class AuthFormState(SessionState):
    """An error or success message, and where to go after sign-in."""

    error: rx.Field[str] = rx.field("")
    success_title: rx.Field[str] = rx.field("")
    success_text: rx.Field[str] = rx.field("")
    next_page: rx.Field[str] = rx.field(routes.DASHBOARD)
    link: rx.Field[str] = rx.field("")
    link_email: rx.Field[str] = rx.field("")

    @rx.event
    async def load(self) -> EventSpec | None:
        """Read the address; redirect anyone already signed in to the dashboard."""
        self._read_address()
        return rx.redirect(routes.DASHBOARD) if await self._is_signed_in() else None

    @rx.event
    def load_for_anybody(self) -> None:
        """Read the address; the form is open to anyone."""
        self._read_address()

    @rx.event
    async def load_link(self) -> None:
        """Read the address and the account that the link belongs to."""
        await self._read_link(email_of_link)

    @rx.event
    async def load_email_link(self) -> None:
        """Read the address and the e-mail address that the link confirms."""
        await self._read_link(email_links.email_of_link)

    @rx.event
    async def load_unsubscribe_link(self) -> None:
        """Read the address and whose alerts the link stops."""

        async def email_of(database: Database, token: str, _: datetime) -> str | None:
            return await preferences.email_of_token(database, token)

        await self._read_link(email_of)

    @rx.event
    async def load_for_signed_in(self) -> EventSpec | None:
        """Read the address; redirect anyone not signed in to sign-in first."""
        self._read_address()
        if await self._is_signed_in() is False:
            return leave_for_sign_in(self.router.url.path)
        return None

    async def _read_link(
        self, email_of: Callable[[Database, str, datetime], Awaitable[str | None]]
    ) -> None:
        self._read_address()
        self.link = self.router.url.query_parameters.get("link", "")
        try:
            email = await email_of(get_services().database, self.link, datetime.now(UTC))
        except Exception:
            log.exception("page_read_failed", page=type(self).__name__)
            self.error = self.error or MESSAGES["unreachable"]
            return
        self.link_email = email or ""

    def _read_address(self) -> None:
        query = self.router.url.query_parameters
        error = query.get("error", "")
        message = MESSAGES.get(error, UNKNOWN) if error else ""
        self.error = message.format(wait=formatting.waiting_time(query.get("wait", "")))
        success = "" if error else query.get("said", "")
        self.success_title, self.success_text = SUCCESSES.get(success, ("", ""))
        self.next_page = query.get("next", routes.DASHBOARD)

    async def _is_signed_in(self) -> bool | None:
        """None, with an error on the page, when the database can't be read."""
        try:
            return await self._actor() is not None
        except Exception:
            log.exception("page_read_failed", page=type(self).__name__)
            self.error = self.error or MESSAGES["unreachable"]
            return None
