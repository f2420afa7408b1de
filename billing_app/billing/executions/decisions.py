"""What a decision is, and how it is remembered under its key."""

import msgspec

from billing_app.billing.errors import BillingError, IdempotencyKeyReusedError
from billing_app.billing.executions.changes import Changes, KeyRow
from billing_app.billing.executions.requests import Caller, Commit, Refund, Release
from billing_app.billing.executions.state import AccountState, KnownAnswer, LedgerState


class Accepted(msgspec.Struct, gc=False):
    """Allowed, with the answer's bytes; `replayed` when it is the first answer once more."""

    answer: bytes
    replayed: bool = False


Decision = Accepted | BillingError


def client_key(idempotency_key: str) -> str:
    """The stored key for a caller's Idempotency-Key."""
    return "k:" + idempotency_key


def natural_key(request: Commit | Release | Refund) -> str:
    """The stored key of an operation: the caller's, or one made of what the operation names."""
    if not isinstance(request, Refund):
        return f"r:{request.number:x}"
    if request.idempotency_key:
        return client_key(request.idempotency_key)
    return f"f:{request.number:x}:{request.fingerprint().hex()}"


def replay(known: KnownAnswer, fingerprint: bytes) -> Decision:
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
    ledger.known[account_id, key] = KnownAnswer(fingerprint, answer)
    changes.keys.append(KeyRow(account_id, key, fingerprint, answer))
    return Accepted(answer)


def is_callers(caller: Caller, account: AccountState) -> bool:
    return caller.organization_id in (None, account.organization_id)
