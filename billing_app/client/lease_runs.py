"""Runs that a lease decides; without one that can, the billing server does."""

from .conversation import Connection, Conversation
from .errors import ProblemError
from .journal import Flush
from .lease_books import LeaseBook
from .leases import Lease, Taken
from .runs import RESERVED, Run, log


class LeasedRuns:
    """Executions are set aside in memory, and counted in the journal when the run is done."""

    def __init__(self, book: LeaseBook) -> None:
        self._book = book

    def begin(self, connection: Connection, run: Run) -> Conversation[None]:
        lease = self._lease(run)
        run.leased = lease.take(run.executions, run.idempotency_key)
        if run.leased is None and lease.segment is None and lease.may_open:
            # Why there is no lease, the server says better for the run itself.
            try:
                yield from self._book.open(lease)
            except ProblemError:
                pass
            except OSError as error:
                log.warning("A lease has no journal: %s", error)
            run.leased = lease.take(run.executions, run.idempotency_key)
        if run.leased is None:
            yield from RESERVED.begin(connection, run)

    def settle(self, connection: Connection, run: Run) -> Conversation[None]:
        taken = run.leased
        if taken is None:
            yield from RESERVED.settle(connection, run)
        elif not _count(taken, run, run.used):
            # No room in the journal, or no lease any more: the server counts it.
            yield from RESERVED.late(connection, run)
            _count(taken, run, 0)
        elif taken.lease.terms.fsync:
            yield Flush(taken.segment.journal.flusher)

    def abandon(self, connection: Connection, run: Run, error: BaseException) -> Conversation[None]:
        if run.leased is None:
            yield from RESERVED.abandon(connection, run, error)
        else:
            _count(run.leased, run, 0)

    def _lease(self, run: Run) -> Lease:
        """One for an organization; one for each user of the public one."""
        is_public = run.organization_id == self._book.terms.public_organization_id
        return self._book.lease(run.organization_id, run.user_id if is_public else None)


def _count(taken: Taken, run: Run, used: int) -> bool:
    return taken.lease.count(
        taken, used, run.workflow or "", run.user_id or "", run.idempotency_key
    )
