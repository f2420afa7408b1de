"""Mail by SMTP."""

from dataclasses import dataclass
from email.utils import parseaddr
from typing import Final

import aiosmtplib

from billing_app.billing.mail import Mail
from billing_app.mail.messages import message_of, recipient_of
from billing_app.settings import MailSecurity

TIMEOUT_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class SmtpServer:
    host: str
    port: int
    security: MailSecurity
    username: str | None
    password: str | None


class SmtpMailer:
    """Implements billing's Mailer: one connection for each mail."""

    def __init__(self, server: SmtpServer, sender: str) -> None:
        self._server = server
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        """Raises OSError, aiosmtplib.SMTPException, ValueError."""
        server = self._server
        await aiosmtplib.send(
            message_of(mail, self._sender),
            sender=parseaddr(self._sender)[1],
            recipients=[recipient_of(mail)],
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.security is MailSecurity.TLS,
            start_tls=server.security is MailSecurity.STARTTLS,
            timeout=TIMEOUT_SECONDS,
        )
