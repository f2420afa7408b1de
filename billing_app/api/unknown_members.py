"""Members of a JSON body that no route knows: a misspelt one must not be passed over."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from billing_app.billing.errors import InvalidInputError

KEY: Final = "idempotency_key"
SHOWN_CHARACTERS: Final = 100


def unknown_member(name: str, known: Iterable[str]) -> InvalidInputError:
    """Names the nearest of the `known` members, else all of them."""
    members = list(known)
    shown = name if len(name) <= SHOWN_CHARACTERS else f"{name[:SHOWN_CHARACTERS]}…"
    near = get_close_matches(name.casefold().replace("-", "_"), members, n=1)
    if name == KEY:
        hint = "Send it as the header Idempotency-Key."
    elif near:
        hint = f"Did you mean {near[0]}?"
    else:
        hint = f"Known members: {', '.join(members)}." if members else "None is known here."
    return InvalidInputError(f"{shown} is not a known member. {hint}", field=shown)
