"""Mail: the messages of the billing service, and what it needs from a mailer."""

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
        """Hand a mail over. Raises on failure; it can be tried again then."""
        ...


class Post(Protocol):
    """Mail that is sent soon after the transaction of `session` commits."""

    async def password_link(self, session: AsyncSession, email: str) -> None:
        """Send a password reset link to the user with this address. Raises when nothing would be
        sent."""
        ...

    async def password_changed(
        self, session: AsyncSession, user_id: str, changed_at: datetime
    ) -> None:
        """Send notice that a password was changed. The change stays if this fails."""
        ...
