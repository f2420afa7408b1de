"""Ids of organizations and users that services bring along.

They are the ids, not names for ids of ours: every route and the hot path take them as they are,
without a look-up in between. They are compared byte by byte, so `Acme` and `acme`, or two spellings
of the same accent, are two accounts.
"""

from typing import Final
from unicodedata import category

from billing_app.billing import ids
from billing_app.billing.accounts.names import CONTROLS_AND_HALVES
from billing_app.billing.errors import InvalidInputError

MAX_LENGTH: Final = 255
# Clients and proxies resolve these in a path, even percent-encoded.
NOT_IN_PATHS: Final = frozenset({".", ".."})


class ReservedIdError(InvalidInputError):
    code = "id_reserved"
    title = "This ID cannot be used"


def check_new_id(text: str, *, field: str, public_organization_id: str) -> None:
    """Raises InvalidInputError, or ReservedIdError for what could be an id of ours."""
    if not 1 <= len(text) <= MAX_LENGTH:
        raise InvalidInputError(f"{field} must have 1 to {MAX_LENGTH} characters.", field=field)
    if any(category(character) in CONTROLS_AND_HALVES for character in text):
        raise InvalidInputError(f"{field} must not contain control characters.", field=field)
    if text in NOT_IN_PATHS:
        raise ReservedIdError(f"{text} cannot be an ID: it means a folder in a URL.", field=field)
    if text == public_organization_id:
        raise ReservedIdError("This is the ID of the public organization.", field=field)
    if ids.looks_like_ours(text):
        raise ReservedIdError(
            "No account has this ID, and new IDs must not look like generated ones"
            " (such as org_ and 16 characters).",
            field=field,
        )
