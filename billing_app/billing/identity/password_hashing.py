"""Passwords: argon2id, off the event loop, with the same work whether or not a user exists."""

import asyncio
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from billing_app.billing.errors import InvalidInputError

MIN_LENGTH: Final = 10
MAX_LENGTH: Final = 1024

_hasher: Final = PasswordHasher()


async def hash_password(password: str) -> str:
    """Raises InvalidInputError unless MIN_LENGTH to MAX_LENGTH characters."""
    check_length(password)
    return await asyncio.to_thread(_hasher.hash, password)


def check_length(password: str) -> None:
    """Raises InvalidInputError unless MIN_LENGTH to MAX_LENGTH characters."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidInputError(
            f"A password must have {MIN_LENGTH} to {MAX_LENGTH} characters.", field="password"
        )


async def is_password(password: str, password_hash: str | None) -> bool:
    """False for a wrong password and, after the same time, when there is no hash."""
    matches = await asyncio.to_thread(_verify, password, password_hash)
    return matches and password_hash is not None


def _verify(password: str, password_hash: str | None) -> bool:
    try:
        return _hasher.verify(password_hash or _unused_hash(), password[:MAX_LENGTH])
    except (VerificationError, InvalidHashError):
        return False


@cache
def _unused_hash() -> str:
    return _hasher.hash("nobody has this password")
