"""All leases of a client, and those that processes before it have left behind."""

import os
import threading
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Final

from .conversation import Connection, Conversation
from .errors import BillingError, ProblemError
from .journal import Journal
from .lease_segments import recover, url_of
from .lease_terms import LeaseTerms
from .leases import FINAL, Lease, log

# How often to look for leases that other processes have left behind.
LOOK_SECONDS: Final = 30.0
WAIT_SECONDS: Final = 0.01
MAX_WAITS: Final = 3_000
NO_LEASES: Final = "Leases need leases=LeaseTerms(journal=…)"


class LeaseBook:
    """The leases of one client, and those that processes before it have left behind."""

    def __init__(self, terms: LeaseTerms, connection: Connection, url: str) -> None:
        self.terms = terms
        self.wake = threading.Event()
        self._connection, self._url = connection, url
        self._leases: dict[tuple[str, str | None, str | None], Lease] = {}
        self._lock = threading.Lock()
        self._left_behind: list[Journal] = []
        self._looked_at = float("-inf")
        self.start: Callable[[], None] = lambda: None
        _books.add(self)

    def lease(
        self, organization_id: str, user_id: str | None = None, workflow: str | None = None
    ) -> Lease:
        """The lease for these, to be opened by `keep`."""
        key = organization_id, user_id, workflow
        lease = self._leases.get(key)
        if lease is None:
            with self._lock:
                lease = self._leases.setdefault(key, Lease(self.terms, *key))
                lease.wake = self.wake
        return lease

    def keep(self) -> Conversation[None]:
        """One round. Raises nothing that the next round may mend."""
        yield from self._recover()
        for lease in list(self._leases.values()):
            if lease.segment is None and not lease.retired and not lease.may_open:
                continue
            try:
                yield from lease.keep(self._connection, self._url)
            except (BillingError, OSError) as error:
                log.warning("No lease for %s now: %s", lease.organization_id, error)

    def open(self, lease: Lease) -> Conversation[None]:
        """Open it now, if it is not open. Raises as a request, and OSError for its journal."""
        for _ in range(MAX_WAITS):
            if lease.segment is not None or (yield from lease.keep(self._connection, self._url)):
                break
            # Another thread or task is at it.
            yield WAIT_SECONDS
        self.start()

    def close(self) -> Conversation[None]:
        """Settle everything and give back the rest. What cannot be settled stays in the journal."""
        for lease in self._leases.values():
            lease.is_closing = True
        yield from self.keep()

    def forget(self) -> None:
        """In a forked process: the leases are the parent's, and so are its threads."""
        self._lock = threading.Lock()
        self.wake = threading.Event()
        self._looked_at = float("-inf")
        self._left_behind = []
        for lease in self._leases.values():
            lease.forget(self.wake)

    def _recover(self) -> Conversation[None]:
        if monotonic() - self._looked_at > LOOK_SECONDS:
            self._looked_at = monotonic()
            found = Journal.abandoned(self.terms.journal)
            self._left_behind += [each for each in found if self._is_ours(each)]
        for journal in list(self._left_behind):
            try:
                yield from recover(self._connection, journal)
            except ProblemError as error:
                if error.problem.status not in FINAL:
                    log.warning("A lease left behind could not be settled now: %s", error)
                    continue
                log.error("A lease left behind was refused: %s", error)
                journal.set_aside()
            except BillingError as error:
                log.warning("A lease left behind could not be settled now: %s", error)
                continue
            else:
                journal.remove()
            self._left_behind.remove(journal)

    def _is_ours(self, journal: Journal) -> bool:
        is_ours = url_of(journal) in {None, self._url}
        if not is_ours:
            journal.close()
        return is_ours


def _after_fork() -> None:
    for book in list(_books):
        book.forget()


_books: Final["weakref.WeakSet[LeaseBook]"] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
