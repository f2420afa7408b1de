"""Mail that the billing service sends, and the interfaces that it is sent through."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlmodel.ext.asyncio.session import AsyncSession


@dataclass(frozen=True, slots=True)
class Mail:
    """Plain text to one address."""

    to: str
    subject: str
    text: str


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


class AlertQueue(Protocol):
    """Queues mail about alerts in the transaction of `session`."""

    async def alert(
        self, session: AsyncSession, account_id: int, number: int, user_id: str, again: str = ""
    ) -> None:
        """An alert for a person, once for each `again`. Raises when mail cannot be sent."""
        ...
