"""What API keys look like: a prefix, random characters and a checksum, by which scanners know them.

Keys from before there was a checksum go on being valid.
"""

import re
import secrets
import string
from typing import Final
from zlib import crc32

from billing_app.billing.errors import InvalidInputError

PREFIX: Final = "bil_"
ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH: Final = 43  # of 62 characters: 256 bits
CHECKSUM_LENGTH: Final = 6
HINT_LENGTH: Final = 12

_LENGTH: Final = RANDOM_LENGTH + CHECKSUM_LENGTH
_KEY: Final = re.compile(rf"(?<![0-9A-Za-z_-]){PREFIX}([0-9A-Za-z]{{{_LENGTH}}})(?![0-9A-Za-z_-])")


def new_secret() -> str:
    """A key that nobody can guess."""
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return PREFIX + random + checksum(random)


def checksum(random: str) -> str:
    """CRC-32 of the random characters, in base 62 with leading zeros."""
    number, digits = crc32(random.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def holds_key(text: str) -> bool:
    """Whether a key stands somewhere in the text, by its checksum."""
    return any(
        checksum(found[:RANDOM_LENGTH]) == found[RANDOM_LENGTH:] for found in _KEY.findall(text)
    )


def refuse_key(text: str, *, field: str) -> None:
    """Raises InvalidInputError for a text that others may read and that holds a key."""
    if holds_key(text):
        raise InvalidInputError(
            "This contains an API key. Others can read what you enter here: revoke that key if it"
            " was shown to anyone.",
            field=field,
        )
