"""Dead letters: provider events that were set aside after too many failed attempts.

Nothing processes them until staff replay them (see staff/operations/provider_events.py).
"""

from datetime import datetime

from billing_app.billing.errors import ConflictError
from billing_app.db.engine import Database
from billing_app.db.enums import WebhookState
from billing_app.db.tables import WebhookEvent


class EventNotDeadError(ConflictError):
    code = "event_not_dead"
    title = "Only a dead letter can be replayed"


async def set_aside(database: Database, event_id: str, now: datetime, *, problem: str) -> None:
    async with database.transaction() as session:
        row = await session.get(WebhookEvent, event_id, with_for_update=True)
        assert row is not None
        row.state, row.problem, row.finished_at = WebhookState.DEAD, problem, now
        session.add(row)


def reopen(row: WebhookEvent) -> None:
    """Let it be processed again, as replay number `row.replays`. Raises EventNotDeadError."""
    if row.state != WebhookState.DEAD:
        raise EventNotDeadError(f"This event is {row.state}.", state=row.state)
    row.state, row.problem, row.finished_at = WebhookState.RECEIVED, None, None
    row.replays += 1
