"""Writes mail to files, as the demo does."""

import asyncio
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from billing_app.billing.mail import Mail
from billing_app.mail.messages import message_of

SENDER: Final = "billing@localhost"

log = structlog.get_logger(__name__)


class FolderMailer:
    """Implements billing's Mailer: one file for each mail, readable only by its owner."""

    def __init__(self, directory: Path, sender: str | None = None) -> None:
        self._directory = directory
        self._sender = sender or SENDER

    async def send(self, mail: Mail) -> None:
        """Raises OSError, ValueError."""
        text = message_of(mail, self._sender).as_bytes()
        path = await asyncio.to_thread(self._write, text)
        log.info("mail_kept", path=str(path))

    def _write(self, text: bytes) -> Path:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = datetime.now(UTC)
        path = self._directory / f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}.eml"
        path.touch(mode=0o600)
        path.write_bytes(text)
        return path
