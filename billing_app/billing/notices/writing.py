"""Writes notices, in the transaction of what they are about."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.notices.recipients import recipients_of
from billing_app.billing.notices.topics import TOPIC_OF
from billing_app.db.enums import NoticeKind
from billing_app.db.tables import Account, Notice


@dataclass(frozen=True, slots=True)
class NewNotice:
    """`key`: each person gets one mail for it. `figures`: see letters.py."""

    kind: NoticeKind
    key: str
    figures: dict[str, Any] = field(default_factory=dict[str, Any])


async def write(session: AsyncSession, account: Account, notice: NewNotice, now: datetime) -> int:
    """One for each person who manages the account and wants to be mailed about it; returns how
    many are new."""
    figures = msgspec.to_builtins(notice.figures)
    rows = [
        {
            "account_id": account.id,
            "key": notice.key,
            "user_id": person.user_id,
            "kind": notice.kind,
            "figures": figures,
            "created_at": now,
        }
        for person in await recipients_of(session, account)
        if person.email and person.preferences.wants(TOPIC_OF[notice.kind])
    ]
    if not rows:
        return 0
    statement = insert(Notice).values(rows).on_conflict_do_nothing().returning(col(Notice.user_id))
    return len((await (await session.connection()).execute(statement)).all())
