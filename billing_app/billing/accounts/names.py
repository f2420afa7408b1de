"""Valid names of organizations, plans and keys."""

from typing import Final
from unicodedata import category

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.identity.key_format import refuse_key

MAX_LENGTH: Final = 255
CONTROLS_AND_HALVES: Final = frozenset({"Cc", "Cs"})
INVISIBLE: Final = frozenset({"Z", "C"})


def checked_name(name: str) -> str:
    """The name without surrounding spaces. Raises InvalidInputError."""
    name = name.strip()
    if not 1 <= len(name) <= MAX_LENGTH:
        raise InvalidInputError(f"A name must have 1 to {MAX_LENGTH} characters.", field="name")
    if all(category(character)[0] in INVISIBLE for character in name):
        raise InvalidInputError("A name must have a visible character.", field="name")
    if any(category(character) in CONTROLS_AND_HALVES for character in name):
        raise InvalidInputError("A name must not contain control characters.", field="name")
    refuse_key(name, field="name")
    return name
