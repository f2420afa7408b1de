"""Tokens of leases: they name the lease, its account, what it holds and until when it decides.

Each lease has a key of its own, so that there is no secret to keep, to share or to change.
"""

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final

KEY_BYTES: Final = 32


def new_key() -> str:
    return secrets.token_hex(KEY_BYTES)


def sign(key: str, lease_id: str, executions: int, expires_at: datetime) -> str:
    """The token. `lease_id` names the account, too."""
    body = f"{lease_id}.{executions}.{int(expires_at.timestamp())}"
    return f"{body}.{_signature(key, body)}"


def is_signed(key: str, lease_id: str, token: str) -> bool:
    """Whether the token was given for this lease, also before it was renewed."""
    body, _, signature = token.rpartition(".")
    is_named = body.startswith(f"{lease_id}.")
    return hmac.compare_digest(_signature(key, body).encode(), signature.encode()) and is_named


def _signature(key: str, body: str) -> str:
    return hmac.new(bytes.fromhex(key), body.encode(), hashlib.sha256).hexdigest()
