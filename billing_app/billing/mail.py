"""Mail that the billing service sends, and the interfaces that it is sent through."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from sqlmodel.ext.asyncio.session import AsyncSession

PRODUCT: Final = "Billing"


@dataclass(frozen=True, slots=True)
class Letter:
    """What a mail says: a headline, paragraphs, `rows` of names and values, a button that leads to
    `url`, `notes` below it, small print, and a link below that, as (words, address).

    Without a button there is no link. `preheader`: what a list of mails shows beside the subject;
    "": the first paragraph.
    """

    headline: str
    paragraphs: tuple[str, ...]
    button: str = ""
    url: str = ""
    small_print: str = ""
    small_link: tuple[str, str] | None = None
    rows: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    preheader: str = ""

    @property
    def preview(self) -> str:
        return self.preheader or next(iter(self.paragraphs), "")


@dataclass(frozen=True, slots=True)
class Mail:
    """Plain text to one address; with a letter, HTML beside it. `unsubscribe_url`: unsubscribes by
    a POST (RFC 8058), and explains itself to who opens it."""

    to: str
    subject: str
    text: str
    letter: Letter | None = None
    unsubscribe_url: str = ""


def letter_mail(to: str, subject: str, letter: Letter, *, unsubscribe_url: str = "") -> Mail:
    """Its text says what its HTML says."""
    action = f"{letter.button}:\n{letter.url}" if letter.button else ""
    rows = "\n".join(f"{name}: {value}" for name, value in letter.rows)
    unsubscribe = f"Unsubscribe: {unsubscribe_url}" if unsubscribe_url else ""
    more = ": ".join(letter.small_link or ())
    foot = "\n".join(part for part in (letter.small_print, more, unsubscribe) if part)
    parts = (letter.headline, *letter.paragraphs, rows, action, *letter.notes, foot)
    text = "\n\n".join(part for part in parts if part)
    return Mail(to, subject, f"{text}\n", letter, unsubscribe_url)


def required_mail(to: str, subject: str, letter: Letter, *, site: str) -> Mail:
    """About somebody's sign-in or their money: nobody can unsubscribe from it. `site` is the public
    URL."""
    reason = f"Sent to {to} because it is used at {site}. This email cannot be turned off."
    return letter_mail(to, subject, replace(letter, small_print=letter.small_print or reason))


class Mailer(Protocol):
    async def send(self, mail: Mail) -> None:
        """Hand over a mail. Raises when that fails; it can be tried again."""
        ...


class MailQueue(Protocol):
    """Queues mail in the transaction of `session`; it is sent soon after the commit."""

    async def password_link(self, session: AsyncSession, email: str) -> None:
        """A password reset link for the user with this address. Raises when mail cannot be
        sent."""
        ...

    async def password_changed(
        self, session: AsyncSession, user_id: str, changed_at: datetime
    ) -> None:
        """A notice that the password was changed. The change stands even when sending fails."""
        ...

    async def email_link(self, session: AsyncSession, change_id: str) -> None:
        """A link that confirms a new address (EmailChange). Raises when mail cannot be sent."""
        ...

    async def welcome(self, session: AsyncSession, change_id: str) -> None:
        """A link that confirms the address of somebody who signed up (EmailChange). The sign-up
        stands even when sending fails."""
        ...

    async def invitation(self, session: AsyncSession, invitation_id: str) -> None:
        """An invitation to an organization. Raises when mail cannot be sent."""
        ...

    async def email_changed(
        self, session: AsyncSession, old_email: str, changed_at: datetime
    ) -> None:
        """A notice to a person's old address. The change stands even when sending fails."""
        ...


class DecisionQueue(Protocol):
    """Queues mail about bank debits in the transaction of `session`."""

    async def bank_decision(self, session: AsyncSession, account_id: int, invoice_id: str) -> None:
        """What a bank decided on the debit of an invoice. Raises when mail cannot be sent."""
        ...


class NoticeQueue(Protocol):
    """Queues mail about accounts in the transaction of `session`."""

    async def notice(
        self, session: AsyncSession, account_id: int, key: str, user_id: str, again: str = ""
    ) -> None:
        """A notice for a person, once for each `again`. Raises when mail cannot be sent."""
        ...


class AlertQueue(Protocol):
    """Queues mail about alerts in the transaction of `session`."""

    async def alert(
        self, session: AsyncSession, account_id: int, number: int, user_id: str, again: str = ""
    ) -> None:
        """An alert for a person, once for each `again`. Raises when mail cannot be sent."""
        ...
