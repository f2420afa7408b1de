"""A real SMTP server that keeps what it gets."""

import re
import time
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller

HOST = "127.0.0.1"
WAIT_SECONDS = 90.0
LINK = re.compile(r"https?://\S+/billing/(?:password-resets|email-links|invitations)/\S+")


class Mailbox:
    """Everybody's mail. `stop` and `start` again: a server that was away."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.messages: list[EmailMessage] = []
        self._controller: Controller | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "SMTP_HOST": HOST,
            "SMTP_PORT": str(self.port),
            "SMTP_SECURITY": "none",
            "MAIL_FROM": "Billing <billing@example.com>",
        }

    def start(self) -> None:
        self._controller = Controller(self, hostname=HOST, port=self.port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """What aiosmtpd calls."""
        message: Any = message_from_bytes(envelope.content, policy=default)
        message["X-Envelope-To"] = ",".join(envelope.rcpt_tos)
        self.messages.append(message)
        return "250 OK"

    def to(self, address: str, subject: str) -> list[EmailMessage]:
        return [
            message
            for message in self.messages
            if message["X-Envelope-To"].lower() == address.lower() and message["Subject"] == subject
        ]

    def wait_for(self, address: str, subject: str, *, count: int = 1) -> EmailMessage:
        """The newest such mail, once there are `count`."""
        deadline = time.monotonic() + WAIT_SECONDS
        while len(found := self.to(address, subject)) < count:
            assert time.monotonic() < deadline, f"no {subject!r} for {address}"
            time.sleep(0.05)
        return found[-1]


def link_in(message: EmailMessage) -> str:
    """Where the mail leads: to choose a new password, or to confirm an address."""
    found = LINK.search(text_of(message))
    assert found is not None, text_of(message)
    return found[0]


def text_of(message: EmailMessage) -> str:
    """Its text, without the HTML."""
    plain = message.get_body(("plain",))
    assert plain is not None
    return plain.get_content()
