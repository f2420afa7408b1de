"""New passwords: long enough, and hard to guess by zxcvbn's lists of passwords, words and names."""

import asyncio
import re
from enum import StrEnum
from threading import Lock
from typing import Final

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.identity.password_hashing import check_length, hash_password

# zxcvbn's scores: 0 too guessable, 1 very guessable, 2 somewhat, 3 safely unguessable, 4 very.
STRONG: Final = 3
# zxcvbn's time grows fast with the length: 0.4 s at worst for 32 characters, 3 s for 72. The whole
# needs at least as many guesses as its beginning.
EXAMINED: Final = 32

# zxcvbn keeps the words of its caller in a dictionary of its module.
_one_at_a_time: Final = Lock()


class Weakness(StrEnum):
    """What makes a password easy to guess; the names are codes in addresses of forms."""

    COMMON = "common"
    PERSONAL = "personal"
    WORD = "word"
    NAME = "name"
    REPEATED = "repeated"
    SEQUENCE = "sequence"
    KEYBOARD = "keyboard"
    DATE = "date"
    SIMPLE = "simple"


PATTERNS: Final = {
    "repeat": Weakness.REPEATED,
    "sequence": Weakness.SEQUENCE,
    "spatial": Weakness.KEYBOARD,
    "date": Weakness.DATE,
    "regex": Weakness.DATE,  # the only one is a recent year
}
DICTIONARIES: Final = {
    "passwords": Weakness.COMMON,
    "user_inputs": Weakness.PERSONAL,
    "female_names": Weakness.NAME,
    "male_names": Weakness.NAME,
    "surnames": Weakness.NAME,
}


class WeakPasswordError(InvalidInputError):
    """Long enough, but easy to guess."""

    def __init__(self, weakness: Weakness) -> None:
        super().__init__("This password is easy to guess.", field="password", weakness=weakness)
        self.weakness = weakness


async def hash_new_password(password: str, *, name: str, email: str) -> str:
    """The hash of a password that the person of this name and address chose.

    Raises WeakPasswordError, and InvalidInputError unless MIN_LENGTH to MAX_LENGTH characters.
    """
    check_length(password)
    weakness = await asyncio.to_thread(weakness_of, password, name=name, email=email)
    if weakness is not None:
        raise WeakPasswordError(weakness)
    return await hash_password(password)


def weakness_of(password: str, *, name: str, email: str) -> Weakness | None:
    """Why the password is easy to guess, by its longest weak part; None if it is not."""
    # Only processes that set passwords pay for its lists: 14 MB.
    from zxcvbn import zxcvbn

    with _one_at_a_time:
        found = zxcvbn(password[:EXAMINED], user_inputs=_words_of(name, email))
    if found["score"] >= STRONG:
        return None
    longest = max(found["sequence"], key=lambda match: len(match["token"]))
    if longest["pattern"] == "dictionary":
        return DICTIONARIES.get(longest.get("dictionary_name", ""), Weakness.WORD)
    return PATTERNS.get(longest["pattern"], Weakness.SIMPLE)


def _words_of(name: str, email: str) -> list[str]:
    """The person's name and address, whole, run together and in words."""
    parts = [part for text in (name, email) for part in re.split(r"[\W_]+", text) if part]
    whole = [name, email, email.partition("@")[0], re.sub(r"[\W_]+", "", name)]
    return [text[:EXAMINED] for text in (*whole, *parts)]
