"""Pages of lists, by an opaque cursor."""

import base64
import binascii
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

from billing_app.billing.errors import InvalidInputError

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200

Item = TypeVar("Item")
Position = TypeVar("Position")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """`next_cursor` None: this is the last page."""

    items: list[Item]
    next_cursor: str | None


def check_limit(limit: int) -> int:
    """Raises InvalidInputError unless the limit is 1 to MAX_LIMIT."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInputError(f"limit must be between 1 and {MAX_LIMIT}.", field="limit")
    return limit


def invalid_cursor() -> InvalidInputError:
    return InvalidInputError(
        "Invalid cursor: send the next_cursor of the same list and sort order.", field="cursor"
    )


def encode_cursor(position: object) -> str:
    """`position` is a row's place in its list, such as a tuple of its sort values."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def decode_cursor(cursor: str, kind: type[Position]) -> Position:
    """Raises InvalidInputError unless the cursor is a position of this kind."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        raw = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
        position = msgspec.json.decode(raw, type=kind)
    except (UnicodeEncodeError, binascii.Error, msgspec.MsgspecError):
        raise invalid_cursor() from None
    if b"\\u0000" in raw or b"\0" in raw:
        raise invalid_cursor()
    return position
