"""How much a client leases, for how long, and where its journal is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_EXECUTIONS: Final = 1_000_000
MIN_SECONDS: Final = 10
MAX_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """`journal`: a directory that outlives the process, on a local disk; processes may share it.

    `executions`: what a lease holds when it is full; it is filled up when less than `refill_share`
    of that is left. `seconds`: how long it decides when the server cannot be reached.
    `settle_seconds`: how old counts get before the server knows them. `remember_keys`: so many of
    the newest keys are remembered, at most twice as many. `fsync`: bring each count to disk before
    it is acknowledged, so that it survives a loss of power.
    """

    journal: Path
    executions: int = 1_000
    seconds: int = 3_600
    refill_share: float = 0.5
    settle_seconds: float = 5.0
    remember_keys: int = 100_000
    fsync: bool = False
    public_organization_id: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.executions <= MAX_EXECUTIONS:
            raise ValueError(f"executions is 1 to {MAX_EXECUTIONS}: {self.executions}")
        if not MIN_SECONDS <= self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds is {MIN_SECONDS} to {MAX_SECONDS}: {self.seconds}")
        if not 0 <= self.refill_share < 1:
            raise ValueError(f"refill_share is at least 0 and below 1: {self.refill_share}")
