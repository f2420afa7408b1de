"""One trial for a person: addresses and cards that have had one, kept as hashes only."""

from datetime import datetime
from hashlib import sha256
from typing import Final

from sqlalchemy.dialects.postgresql import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.db.enums import TrialUseKind
from billing_app.db.tables import TrialUse

# Gmail ignores dots (support.google.com/mail/answer/7436150).
GMAIL: Final = frozenset({"gmail.com", "googlemail.com"})


def person_of(email: str) -> str:
    """The same for addresses that reach the same person: case, a `+tag`, and Gmail's dots do not
    matter. Migration 0024 says the same in SQL."""
    local, _, domain = email.strip().lower().rpartition("@")
    local = local.partition("+")[0] or local
    if domain in GMAIL:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}"


def hash_of(kind: TrialUseKind, value: str) -> bytes:
    """What is stored of a person's address or of a card's fingerprint."""
    return sha256(f"{kind}:{value}".encode()).digest()


async def take(
    session: AsyncSession, kind: TrialUseKind, value: str, account_id: int, now: datetime
) -> bool:
    """Record the trial in the transaction that gives it. False: another account had it already,
    also one whose transaction was under way."""
    key = (kind, hash_of(kind, value))
    row = {"kind": kind, "hash": key[1], "account_id": account_id, "created_at": now}
    await session.exec(insert(TrialUse).values(row).on_conflict_do_nothing())  # pyright: ignore[reportCallIssue, reportArgumentType]
    return (await session.get_one(TrialUse, key)).account_id == account_id
