"""Mail: what the billing service tells people, and what it needs of whoever carries it."""

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
        """Hand a mail over. Raises when that failed; then it may be tried again."""
        ...


class Post(Protocol):
    """Mail that is written and sent soon, if the transaction of `session` commits."""

    async def password_link(self, session: AsyncSession, email: str) -> None:
        """A link for a new password, to whoever signs in with this address. Raises when nothing
        would be sent."""
        ...

    async def password_changed(
        self, session: AsyncSession, user_id: str, changed_at: datetime
    ) -> None:
        """Word that a password was changed. What is changed stands, also when this fails."""
        ...
