"""Pages of lists, newest first, by an opaque cursor."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from billing_app.billing.errors import InvalidInputError

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200

Item = TypeVar("Item")


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
