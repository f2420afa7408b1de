"""Reads the mail that FolderMailer kept."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Final

NAME: Final = re.compile(r"(\d{8}-\d{6})-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class KeptMail:
    """`html`: "" without any. `at`: when it was written."""

    id: str
    at: datetime
    to: str
    subject: str
    text: str
    html: str


def list_mails(directory: Path, most: int) -> list[KeptMail]:
    """The newest first."""
    names = sorted((path.stem for path in directory.glob("*.eml")), reverse=True)
    found = (read_mail(directory, name) for name in names[:most])
    return [mail for mail in found if mail is not None]


def read_mail(directory: Path, mail_id: str) -> KeptMail | None:
    """None: there is none with this id."""
    named = NAME.fullmatch(mail_id)
    path = directory / f"{mail_id}.eml"
    if named is None or not path.is_file():
        return None
    message = message_from_bytes(path.read_bytes(), policy=default)
    return KeptMail(
        id=mail_id,
        at=datetime.strptime(named[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC),
        to=str(message["To"]),
        subject=str(message["Subject"]),
        text=_part(message, "plain"),
        html=_part(message, "html"),
    )


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return part.get_content() if part is not None else ""
