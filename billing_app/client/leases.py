"""Deciding executions in the memory of the service, from a lease, and settling them exactly.

What is decided is counted in a journal on disk first, so that `kill -9` of the service loses
nothing. Leases are renewed ahead of need in the background. When one is empty and the billing
server cannot be reached, nothing is allowed.
"""

import logging
import threading
from time import monotonic
from typing import Final, NamedTuple

from .conversation import Connection, Conversation
from .errors import BillingError, ProblemError
from .journal import Journal, JournalFullError
from .lease_calls import OpenLease, Renew
from .lease_segments import Segment, begin
from .lease_terms import MAX_EXECUTIONS, LeaseTerms

FINAL: Final = frozenset({403, 404, 409, 422})
REOPEN_SECONDS: float = 5.0
log: Final = logging.getLogger("billing_client")


class Lease:
    """Decides for one account, or one workflow of it. Threads may share one."""

    def __init__(
        self, terms: LeaseTerms, organization_id: str, user_id: str | None, workflow: str | None
    ) -> None:
        self.terms = terms
        self.organization_id, self.user_id, self.workflow = organization_id, user_id, workflow
        self.wake = threading.Event()
        self.lock = threading.Lock()
        self.segment: Segment | None = None
        self.retired: list[Segment] = []
        self.is_closing = False
        self._user, self._workflow = user_id or "", workflow or ""
        self._low = int(terms.executions * terms.refill_share)
        self._keys: set[str] = set()
        self._older_keys: set[str] = set()
        # Executions of keys that were not for one.
        self._amounts: dict[str, int] = {}
        self._older_amounts: dict[str, int] = {}
        self._settled_at = monotonic()
        self._is_durable = terms.fsync
        self._is_busy = False
        self._is_low = False
        self._is_wanted = True
        self._open_at = float("-inf")
        self._active_at = monotonic()
        self._seen: int = 0

    @property
    def may_open(self) -> bool:
        """Whether there was no refusal a moment ago."""
        return monotonic() >= self._open_at

    @property
    def left(self) -> int:
        """What can be decided without the server."""
        with self.lock:
            return self.segment.left if self.segment else 0

    def consume(
        self,
        executions: int = 1,
        *,
        workflow: str = "",
        user_id: str = "",
        idempotency_key: str | None = None,
        flush: bool = True,
    ) -> bool:
        """Count executions, all or none; False: the lease cannot cover them now.

        The same key counts once. `flush`: with `fsync`, wait for the disk. Raises ValueError for a
        key that was used for something else, and for another workflow or user than the lease's.
        """
        with self.lock:
            segment = self.segment
            if segment is None or not 0 < executions <= segment.left:
                return self._replayed(executions, idempotency_key)
            if monotonic() >= segment.until and not self._turn(segment):
                return self._replayed(executions, idempotency_key)
            slot = segment.slots.get((workflow, user_id))
            if slot is None:
                slot = self._new_slot(segment, workflow, user_id)
                if slot is None:
                    return False
            if idempotency_key is not None:
                # One look into a large set takes as long as all the rest.
                size = len(self._keys)
                self._keys.add(idempotency_key)
                is_new = len(self._keys) != size
                if (not is_new or executions != 1 or self._older_keys) and self._is_known(
                    idempotency_key, executions, is_new=is_new
                ):
                    return True
            segment.left -= executions
            segment.counts[slot] += executions
            if segment.left < self._low and not self._is_low:
                self._call_for_more()
        if flush and self._is_durable:
            segment.journal.flusher.wait()
        return True

    async def consume_async(
        self,
        executions: int = 1,
        *,
        workflow: str = "",
        user_id: str = "",
        idempotency_key: str | None = None,
    ) -> bool:
        """The same for asyncio: with `fsync`, waiting for the disk does not block the loop."""
        segment = self.segment
        is_counted = self.consume(
            executions,
            workflow=workflow,
            user_id=user_id,
            idempotency_key=idempotency_key,
            flush=False,
        )
        if is_counted and self._is_durable and segment is not None:
            await segment.journal.flusher.wait_async()
        return is_counted

    def _is_known(self, key: str, executions: int, *, is_new: bool) -> bool:
        """Whether a key was there before it was added. Remembers what others than 1 were for."""
        if is_new and key not in self._older_keys:
            if executions != 1:
                self._amounts[key] = executions
            return False
        known = self._amounts.get(key) or self._older_amounts.get(key, 1)
        if known != 1:
            self._amounts[key] = known
        if known != executions:
            raise ValueError(f"The key {key!r} was used for {known} executions, not {executions}.")
        return True

    def _replayed(self, executions: int, key: str | None) -> bool:
        """A known key is counted already, whatever is left."""
        if key is not None and (key in self._keys or key in self._older_keys):
            return self._is_known(key, executions, is_new=False)
        self._cannot(executions)
        return False

    def _new_slot(self, segment: Segment, workflow: str, user_id: str) -> int | None:
        """None: the journal is full, and so the lease has ended."""
        try:
            return self._slot(segment, workflow, user_id)
        except JournalFullError:
            self._retire()
            self._call_for_more()
            return None

    def take(self, executions: int, idempotency_key: str) -> "Taken | None":
        """Set executions aside for a run; None: the lease cannot cover them. A known key takes
        none."""
        with self.lock:
            segment = self.segment
            if segment is None:
                self._is_wanted = True
                return None
            if idempotency_key in self._keys or idempotency_key in self._older_keys:
                return Taken(self, segment, 0)
            if not 0 < executions <= segment.left:
                self._cannot(executions)
                return None
            if monotonic() >= segment.until and not self._turn(segment):
                return None
            segment.left -= executions
            segment.taken += executions
            if segment.left < self._low and not self._is_low:
                self._call_for_more()
        return Taken(self, segment, executions)

    def count(
        self, taken: "Taken", used: int, workflow: str, user_id: str, idempotency_key: str
    ) -> bool:
        """Count what a run used of what it took, and give back the rest. False: the journal cannot
        count it, and nothing was done."""
        segment = taken.segment
        if not taken.executions:
            return True
        with self.lock:
            if idempotency_key in self._keys or idempotency_key in self._older_keys:
                used = 0
            if used:
                try:
                    if segment.is_gone:
                        return False
                    if monotonic() >= segment.until:
                        segment.turn_day(monotonic())
                    slot = segment.slots.get((workflow, user_id))
                    if slot is None:
                        slot = self._slot(segment, workflow, user_id)
                except JournalFullError:
                    return False
                segment.counts[slot] += used
                self._keys.add(idempotency_key)
                if used != 1:
                    self._amounts[idempotency_key] = used
            segment.taken -= taken.executions
            segment.left += taken.executions - used
        return True

    def forget(self, wake: threading.Event) -> None:
        """In a forked process: begin anew, with a lease of its own."""
        segments = [*self.retired, *([self.segment] if self.segment else [])]
        self.lock, self.wake = threading.Lock(), wake
        self.segment, self.retired, self._is_busy = None, [], False
        for segment in segments:
            segment.is_gone = True
            segment.journal.close()

    def keep(self, connection: Connection, url: str) -> Conversation[bool]:
        """Open, renew, settle and close as is due. Raises what opening raises, as a request, and
        OSError; False: another call is at it."""
        with self.lock:
            if self._is_busy:
                return False
            self._is_busy = True
        try:
            yield from self._keep(connection, url)
        finally:
            with self.lock:
                self._is_busy = False
        return True

    def _keep(self, connection: Connection, url: str) -> Conversation[None]:
        self.wake.clear()
        self._rotate_keys()
        segment = self.segment
        if segment is not None and not self.is_closing:
            yield from self._maintain(connection, segment)
        with self.lock:
            segment = self.segment
            is_over = segment is not None and monotonic() >= segment.ends
            if segment is not None and (is_over or self.is_closing or self._is_idle(segment)):
                self._retire()
        if self._is_wanted and self.segment is None and not self.is_closing:
            yield from self._open(connection, url)
        for retired in list(self.retired):
            yield from self._close(connection, retired)

    def _maintain(self, connection: Connection, segment: Segment) -> Conversation[None]:
        now = monotonic()
        full = self.terms.executions
        renews = segment.left <= self._low or segment.ends - now < self.terms.seconds / 2
        renews = renews and now < segment.ends
        is_due = now - self._settled_at >= self.terms.settle_seconds
        with self.lock:
            totals = segment.unsent() if renews or is_due else {}
        if not totals and not renews:
            return
        self._settled_at = now
        # What runs have taken is decided, and not reported yet.
        renewal = Renew(min(full + segment.taken, MAX_EXECUTIONS), self.terms.seconds)
        try:
            answer = yield from segment.settle(
                connection, totals, renewal if renews else None, close=False
            )
        except ProblemError as error:
            self._refused(segment, error)
            return
        except BillingError as error:
            log.warning("A lease could not be settled now: %s", error)
            return
        with self.lock:
            segment.renewed(answer.lease)
            # Where there is no more now, the next round asks again.
            self._is_low = renews and answer.denied_because is not None

    def _open(self, connection: Connection, url: str) -> Conversation[None]:
        body = OpenLease(
            organization_id=self.organization_id,
            executions=self.terms.executions,
            user_id=self.user_id,
            at_least=1,
            workflow=self.workflow,
            seconds=self.terms.seconds,
        )
        journal = Journal.create(self.terms.journal)
        # Unless it succeeds, the background waits before it asks again.
        self._open_at = monotonic() + REOPEN_SECONDS
        try:
            segment = yield from begin(connection, journal, url, body)
        except ProblemError:
            journal.remove()
            raise
        except BillingError:
            # Whether there is a lease is unclear. The next start finds out.
            journal.close()
            raise
        with self.lock:
            self.segment = segment
            self._is_low = False
            self._open_at, self._active_at, self._seen = float("-inf"), monotonic(), 0

    def _close(self, connection: Connection, segment: Segment) -> Conversation[None]:
        with self.lock:
            totals = segment.unsent()
            is_done = not segment.taken
        if not is_done and not totals:
            return
        try:
            yield from segment.settle(connection, totals, None, close=is_done)
        except ProblemError as error:
            self._refused(segment, error)
            return
        except BillingError as error:
            log.warning("A lease could not be closed now: %s", error)
            return
        if is_done:
            self._forget(segment)
            segment.journal.remove()

    def _refused(self, segment: Segment, error: ProblemError) -> None:
        if error.problem.status not in FINAL:
            log.warning("A lease could not be settled now: %s", error)
            return
        log.error("A lease was refused, and some of its counts with it: %s", error)
        self._forget(segment)
        segment.journal.set_aside()

    def _forget(self, segment: Segment) -> None:
        with self.lock:
            segment.is_gone = True
            if self.segment is segment:
                self.segment = None
            if segment in self.retired:
                self.retired.remove(segment)

    def _is_idle(self, segment: Segment) -> bool:
        """Nobody has asked it for as long as it decides: others may need what it holds."""
        now = monotonic()
        decided = segment.executions - segment.left
        if decided != self._seen or segment.taken:
            self._seen, self._active_at = decided, now
        if now - self._active_at < self.terms.seconds:
            return False
        self._is_wanted = False
        return True

    def _retire(self) -> None:
        if self.segment is not None:
            self.retired.append(self.segment)
            self.segment = None

    def _cannot(self, executions: int) -> None:
        if executions < 1:
            raise ValueError(f"{executions} executions")
        if self.segment is None:
            self._is_wanted = True
        if not self._is_low:
            self._call_for_more()

    def _call_for_more(self) -> None:
        self._is_low = True
        self.wake.set()

    def _turn(self, segment: Segment) -> bool:
        """Whether it still decides, on another day."""
        now = monotonic()
        if now >= segment.ends:
            self._call_for_more()
            return False
        segment.turn_day(now)
        return True

    def _slot(self, segment: Segment, workflow: str, user_id: str) -> int:
        """A lease for one workflow or user counts for these only. Raises ValueError."""
        if self._workflow and workflow not in {"", self._workflow}:
            raise ValueError(f"The lease is for the workflow {self._workflow!r}: {workflow!r}")
        if self._user and user_id not in {"", self._user}:
            raise ValueError(f"The lease is for another user: {user_id!r}")
        slot = segment.slot(workflow or self._workflow, user_id or self._user)
        segment.slots[workflow, user_id] = slot
        return slot

    def _rotate_keys(self) -> None:
        with self.lock:
            if len(self._keys) >= self.terms.remember_keys:
                self._older_keys, self._keys = self._keys, set()
                self._older_amounts, self._amounts = self._amounts, {}


class Taken(NamedTuple):
    """Executions set aside for a run."""

    lease: Lease
    segment: Segment
    executions: int
