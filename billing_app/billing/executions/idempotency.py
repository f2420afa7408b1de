"""Replay protection: a retry with the same idempotency key gets the first answer, byte for byte.

Answers are stored with the change they acknowledge, in the same transaction. Denials are not
stored: a retry of a denied request is decided again.
"""

from billing_app.billing.errors import IdempotencyKeyReusedError
from billing_app.billing.executions.requests import Accepted, Commit, Decision, Refund, Release
from billing_app.billing.executions.state import Changes, KeyRow, KnownAnswer, LedgerState


def client_key(idempotency_key: str) -> str:
    """The stored key for a caller's Idempotency-Key."""
    return "k:" + idempotency_key


def natural_key(request: Commit | Release | Refund) -> str:
    """The stored key of an operation: the caller's, or one derived from what it operates on."""
    if not isinstance(request, Refund):
        return f"r:{request.number:x}"
    if request.idempotency_key:
        return client_key(request.idempotency_key)
    return f"f:{request.number:x}:{request.fingerprint().hex()}"


def replay(known: KnownAnswer, fingerprint: bytes) -> Decision:
    """The first answer again, or an error when the key was used for a different request."""
    if known.request_hash == fingerprint:
        return Accepted(known.answer, replayed=True)
    return IdempotencyKeyReusedError()


def remember(
    ledger: LedgerState,
    changes: Changes,
    account_id: int,
    key: str,
    fingerprint: bytes,
    answer: bytes,
) -> Accepted:
    """Store the answer under its key; later requests of the same batch see it too."""
    ledger.known[account_id, key] = KnownAnswer(fingerprint, answer)
    changes.keys.append(KeyRow(account_id, key, fingerprint, answer))
    return Accepted(answer)
