"""A run: executions are held while it goes on, and counted once when it is done."""

import logging
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from . import operations
from .answers import CheckAnswer, SettleAnswer
from .conversation import Connection, Conversation, call
from .errors import BillingError, ConflictError
from .routes import check_key, new_key

if TYPE_CHECKING:
    from .leases import Taken

# What to do when billing cannot be reached. `deny`: no run starts without the server's decision.
# `lease`: runs are decided here, from executions that were leased before, until these are used up.
Outage: TypeAlias = Literal["deny", "lease"]

EXPIRED: Final = "reservation_expired"
log: Final = logging.getLogger("billing_client")


class Run:
    """What a run is, may use and has used. Each one is run once.

    Reserve the most that it may use, then say with `use` what it did use.
    """

    def __init__(
        self,
        organization_id: str,
        *,
        user_id: str | None = None,
        executions: int = 1,
        workflow: str | None = None,
        hold_seconds: int | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """`hold_seconds`: longer than the run takes; the server's default is 900."""
        self.organization_id = organization_id
        self.user_id = user_id
        self.executions = executions
        self.workflow = workflow
        self.hold_seconds = hold_seconds
        self.idempotency_key = new_key() if idempotency_key is None else idempotency_key
        check_key(self.idempotency_key)
        self.used = executions
        self.decision: CheckAnswer | None = None
        self.settlement: SettleAnswer | CheckAnswer | None = None
        self.leased: Taken | None = None

    def use(self, executions: int) -> None:
        """What the run used, in all: 0 to what it reserved; 0 counts nothing."""
        if not 0 <= executions <= self.executions:
            raise ValueError(f"{executions} used, but {self.executions} reserved")
        self.used = executions


class RunPolicy(Protocol):
    """How runs are decided and counted."""

    def begin(self, connection: Connection, run: Run) -> Conversation[None]:
        """Returns once the run may start. Raises DeniedError, UnavailableError."""
        ...

    def settle(self, connection: Connection, run: Run) -> Conversation[None]:
        """Count what a finished run used."""
        ...

    def abandon(self, connection: Connection, run: Run, error: BaseException) -> Conversation[None]:
        """Count nothing of a run that failed with `error`, and never raise instead of it."""
        ...


class ReservedRuns:
    """Each run is reserved, then committed or released, at the billing server."""

    def begin(self, connection: Connection, run: Run) -> Conversation[None]:
        operation = operations.reserve(
            run.organization_id,
            user_id=run.user_id,
            executions=run.executions,
            workflow=run.workflow,
            hold_seconds=run.hold_seconds,
            idempotency_key=run.idempotency_key,
        )
        run.decision = yield from call(connection, operation)

    def settle(self, connection: Connection, run: Run) -> Conversation[None]:
        """A run that outlived its reservation, of which nothing was counted, is counted anew."""
        if run.used == 0:
            run.settlement = yield from call(connection, operations.release(_reservation(run)))
            return
        try:
            commit = operations.commit(_reservation(run), run.used)
            run.settlement = yield from call(connection, commit)
        except ConflictError as error:
            if error.code != EXPIRED:
                raise
            yield from self.late(connection, run)

    def late(self, connection: Connection, run: Run) -> Conversation[None]:
        """Count what a run used that has no reservation any more."""
        run.settlement = yield from call(connection, _late(run))

    def abandon(self, connection: Connection, run: Run, error: BaseException) -> Conversation[None]:
        try:
            run.settlement = yield from call(connection, operations.release(_reservation(run)))
        except BillingError as failure:
            # The reservation expires by itself.
            log.warning("The reservation of a failed run was not released: %s", failure)
            error.add_note(f"Its reservation was not released, and will expire: {failure}")


RESERVED: Final = ReservedRuns()
POLICIES: Final[dict[Outage, RunPolicy]] = {"deny": RESERVED}


def policy_of(outage: Outage) -> RunPolicy:
    """Raises ValueError."""
    policy = POLICIES.get(outage)
    if outage == "lease":
        raise ValueError("outage='lease' needs leases=LeaseTerms(journal=…)")
    if policy is None:
        raise ValueError(f"outage is one of {', '.join(POLICIES)}: {outage!r}")
    return policy


def _reservation(run: Run) -> str:
    assert run.decision is not None
    assert run.decision.reservation is not None
    return run.decision.reservation.id


def _late(run: Run) -> "operations.Operation[CheckAnswer]":
    """The key is made of the run's own: however often this is tried, it counts once."""
    return operations.consume(
        run.organization_id,
        user_id=run.user_id,
        executions=run.used,
        workflow=run.workflow,
        idempotency_key=f"late-{sha256(run.idempotency_key.encode()).hexdigest()}",
    )
