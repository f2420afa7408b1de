"""Poolers, which refuse or lose the settings that the app gives its sessions."""

from collections.abc import Iterable
from typing import Final

DIRECT: Final = "connect directly, not through a pooler"
# PgBouncer's words, and PostgreSQL's when statements of one client meet another's.
SIGNS: Final = ("unsupported startup parameter", "prepared statement")


class PoolerError(Exception):
    """DATABASE_URL leads to a pooler that the app cannot use; one line."""


def is_sign(reason: str) -> bool:
    """Whether an error's line tells of a pooler."""
    return any(sign in reason for sign in SIGNS)


def explain(reason: str) -> str:
    """An error's line, with what to do when it tells of a pooler."""
    return f"{reason}: {DIRECT}" if is_sign(reason) else reason


def lost(names: Iterable[str]) -> str:
    """One line about settings that were given and are not there."""
    return f"session settings are lost ({', '.join(sorted(names))}): {DIRECT}"
