"""What may be the name of an organization, a plan or a key."""

from typing import Final
from unicodedata import category

from billing_app.billing.errors import InvalidInputError

MAX_LENGTH: Final = 255
CONTROLS_AND_HALVES: Final = frozenset({"Cc", "Cs"})


def checked_name(name: str) -> str:
    """Without the spaces around it. Raises InvalidInputError."""
    name = name.strip()
    if not 1 <= len(name) <= MAX_LENGTH:
        raise InvalidInputError(f"A name of 1 to {MAX_LENGTH} characters is needed.", field="name")
    if any(category(character) in CONTROLS_AND_HALVES for character in name):
        raise InvalidInputError("A name has no control characters.", field="name")
    return name
