"""Ids as callers see them: a prefix, the account in 16 hexadecimal digits, then a number.

The account comes first, so that a row is found by its account, on any shard.
"""

import re
import secrets
from typing import Final

ACCOUNT: Final = "acc_"
EVENT: Final = "evt_"
PLAN: Final = "pln_"
RESERVATION: Final = "rsv_"
ALERT: Final = "alr_"

MAX_NUMBER: Final = 2**63 - 1
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_OURS: Final = re.compile(
    rf"(?:org|usr)_[{_ALPHABET}]{{16}}|(?:acc|evt|pln|rsv|alr)_[0-9a-f]{{16,32}}", re.ASCII
)
_BODY: Final = re.compile(r"([0-9a-f]{16})([0-9a-f]{1,16})?", re.ASCII)


def new_account_number() -> int:
    """A random positive number of 62 bits."""
    return secrets.randbits(62) + 1


def new_id(prefix: str) -> str:
    """A random id for rows that do not belong to an account, such as `org_` and `usr_`."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(16))


def looks_like_ours(text: str) -> bool:
    """Whether this could be one of the ids that we make up."""
    return _OURS.fullmatch(text) is not None


def encode_account(account_id: int) -> str:
    return f"acc_{account_id:016x}"


def encode(prefix: str, account_id: int, number: int) -> str:
    """The id of one of the account's rows."""
    return f"{prefix}{account_id:016x}{number:x}"


def decode_account(text: str) -> int | None:
    """The account's number, or None when the text is not an account id."""
    pair = _split(ACCOUNT, text)
    return pair[0] if pair and pair[1] is None else None


def decode(prefix: str, text: str) -> tuple[int, int] | None:
    """Account and number, or None when the text is not an id with this prefix."""
    pair = _split(prefix, text)
    return (pair[0], pair[1]) if pair and pair[1] is not None else None


def _split(prefix: str, text: str) -> tuple[int, int | None] | None:
    match = _BODY.fullmatch(text[len(prefix) :]) if text.startswith(prefix) else None
    if match is None:
        return None
    account = int(match[1], 16)
    number = int(match[2], 16) if match[2] else None
    if account > MAX_NUMBER or (number or 0) > MAX_NUMBER:
        return None
    return account, number
