"""Pages of lists, newest first, by an opaque cursor."""

import base64
import binascii
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

from billing_app.billing.errors import InvalidInputError

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200

Item = TypeVar("Item")
Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """`next_cursor` None: there is no more."""

    items: list[Item]
    next_cursor: str | None


def check_limit(limit: int) -> int:
    """Raises InvalidInputError unless 1 to MAX_LIMIT."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInputError(f"limit must be from 1 to {MAX_LIMIT}.", field="limit")
    return limit


def invalid_cursor() -> InvalidInputError:
    return InvalidInputError("This cursor was not given by this list.", field="cursor")


def encode_cursor(place: object) -> str:
    """A row's place in its list, such as a tuple of what the list is sorted by."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decode_cursor(cursor: str, kind: type[Place]) -> Place:
    """Raises InvalidInputError unless it is a place of this kind."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        raw = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
        place = msgspec.json.decode(raw, type=kind)
    except (UnicodeEncodeError, binascii.Error, msgspec.MsgspecError):
        raise invalid_cursor() from None
    if b"\\u0000" in raw or b"\0" in raw:
        raise invalid_cursor()
    return place
