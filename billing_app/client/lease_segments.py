"""One lease in memory and in its journal: what may still be decided, and what was."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic, time_ns
from typing import Final

import msgspec

from .conversation import Connection, Conversation, call
from .journal import Journal, Line
from .lease_calls import (
    LeaseAnswer,
    LeaseBrief,
    LeaseSettlement,
    OpenLease,
    Renew,
    SettleLease,
    Total,
    open_lease,
    settle_lease,
)
from .routes import new_key

MAX_TOTALS: Final = 1_000
REQUEST, LEASE = 0, 1


class Opening(msgspec.Struct, frozen=True):
    """What a journal knows before the lease does: how to find out what became of the request."""

    url: str
    key: str
    body: OpenLease


class Opened(msgspec.Struct, frozen=True):
    lease_id: str
    token: str
    opened_at: datetime
    expires_at: datetime


class Segment:
    """`left` executions may be decided until `until` on the monotonic clock: the end of the day or
    of the lease. `taken`: decided for runs that have not ended. Times are the server's: it opened
    the lease after `began` and before `opened`, so that neither day nor end is ahead of it.
    """

    def __init__(self, journal: Journal, answer: LeaseAnswer, began: float, opened: float) -> None:
        self.journal = journal
        self.counts = journal.counts
        self.slots: dict[tuple[str, str], int] = {}
        self.left = answer.lease.executions
        self.taken = 0
        self.is_gone = False
        self.sent: dict[Line, int] = {}
        self._lease = answer.lease
        self._token = answer.token
        self._began, self._opened = began, opened
        self.day = answer.lease.opened_at.astimezone(UTC).date()
        self.until = self._day_end()

    @property
    def ends(self) -> float:
        """When it decides nothing more."""
        return self._began + (self._lease.expires_at - self._lease.opened_at).total_seconds()

    @property
    def last_end(self) -> float:
        """Until when it can be renewed."""
        return self._began + timedelta(days=1).total_seconds()

    @property
    def executions(self) -> int:
        return self._lease.executions

    def turn_day(self, now: float) -> None:
        """Count on the day that it is, from now on; the last one of the lease at most."""
        at = self._lease.opened_at + timedelta(seconds=now - self._opened)
        self.day = min(at, self._lease.expires_at).astimezone(UTC).date()
        self.slots = {}
        self.until = self._day_end()

    def slot(self, workflow: str, user_id: str) -> int:
        """Raises JournalFullError."""
        slot = self.slots.get((workflow, user_id))
        if slot is None:
            slot = self.journal.slot(Line(workflow, user_id, self.day))
            self.slots[workflow, user_id] = slot
        return slot

    def unsent(self) -> dict[Line, int]:
        totals = self.journal.totals()
        return {line: total for line, total in totals.items() if total > self.sent.get(line, 0)}

    def settle(
        self, connection: Connection, totals: dict[Line, int], renew: Renew | None, *, close: bool
    ) -> Conversation[LeaseSettlement]:
        """Raises as `call`; what was settled before is known."""
        answer = yield from settle(
            connection, self._lease.id, self._token, totals, renew=renew, close=close
        )
        self.sent |= totals
        return answer

    def renewed(self, lease: LeaseBrief) -> None:
        """Also of answers that overtake each other: what a lease has held only grows."""
        if lease.executions >= self._lease.executions:
            self.left += lease.executions - self._lease.executions
            expires_at = max(lease.expires_at, self._lease.expires_at)
            self._lease = msgspec.structs.replace(lease, expires_at=expires_at)
            self.until = self._day_end()

    def _day_end(self) -> float:
        midnight = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)
        seconds = (midnight + timedelta(days=1) - self._lease.opened_at).total_seconds()
        return min(self.ends, self._opened + seconds)


def begin(
    connection: Connection, journal: Journal, url: str, body: OpenLease
) -> Conversation[Segment]:
    """Open a lease. Raises as `call`; without an answer, the journal knows what was asked."""
    key = new_key()
    journal.write_text(REQUEST, msgspec.json.encode(Opening(url, key, body)))
    began = monotonic()
    answer = yield from call(connection, open_lease(body, key))
    opened = monotonic()
    lease = answer.lease
    known = Opened(lease.id, answer.token, lease.opened_at, lease.expires_at)
    journal.write_text(LEASE, msgspec.json.encode(known))
    return Segment(journal, answer, began, opened)


def settle(
    connection: Connection,
    lease_id: str,
    token: str,
    totals: dict[Line, int],
    *,
    renew: Renew | None = None,
    close: bool = False,
) -> Conversation[LeaseSettlement]:
    """Report totals, in as many parts as they need; the last one renews or closes."""
    parts = list(_parts(totals)) or [[]]
    for part in parts[:-1]:
        body = SettleLease(token=token, totals=part, sequence=time_ns() // 1_000)
        yield from call(connection, settle_lease(lease_id, body))
    body = SettleLease(
        token=token, totals=parts[-1], sequence=time_ns() // 1_000, renew=renew, close=close
    )
    return (yield from call(connection, settle_lease(lease_id, body)))


def recover(connection: Connection, journal: Journal) -> Conversation[LeaseSettlement | None]:
    """Settle and close the lease of a process that is gone; None: it never asked for one.

    Raises as `call`.
    """
    asked = journal.read_text(REQUEST)
    if not asked:
        return None
    known = journal.read_text(LEASE)
    if known:
        opened = msgspec.json.decode(known, type=Opened)
    else:
        # The same key gets the same lease, if there is one.
        opening = msgspec.json.decode(asked, type=Opening)
        answer = yield from call(connection, open_lease(opening.body, opening.key))
        lease = answer.lease
        opened = Opened(lease.id, answer.token, lease.opened_at, lease.expires_at)
    return (
        yield from settle(connection, opened.lease_id, opened.token, journal.totals(), close=True)
    )


def url_of(journal: Journal) -> str | None:
    asked = journal.read_text(REQUEST)
    return msgspec.json.decode(asked, type=Opening).url if asked else None


def _parts(totals: dict[Line, int]) -> Iterator[list[Total]]:
    lines = [
        Total(
            day=line.day,
            executions=executions,
            workflow=line.workflow or None,
            user_id=line.user_id or None,
        )
        for line, executions in totals.items()
    ]
    for start in range(0, len(lines), MAX_TOTALS):
        yield lines[start : start + MAX_TOTALS]
