"""Reconciliation's walks through everything of a kind, which go on where an earlier run stopped.

A walk's position is kept while it goes, so that a run that is killed repeats a few objects at most.
Runs at the same time do no harm: the one whose walk another run has moved goes on without keeping
its position.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from billing_app.db.engine import Database
from billing_app.db.tables import ReconcileWalk

KEEP_EACH: Final = 10


class WalkKind(StrEnum):
    """CUSTOMERS: ours, compared with the provider. AT_PROVIDER: the provider's, with ours."""

    CUSTOMERS = "customers"
    AT_PROVIDER = "customers_at_provider"


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a run does. `resumes`: walks go on where the last run stopped. `seconds`: after that
    they stop; None: at their end."""

    resumes: bool = False
    seconds: float | None = None


WHOLE: Final = Extent()


class Budget:
    """The time of a run, of which each walk gets an equal share of what is left."""

    def __init__(self, extent: Extent) -> None:
        self._ends_at = None if extent.seconds is None else time.monotonic() + extent.seconds

    def share(self, walks: int) -> float | None:
        """When one of so many walks must stop, by the monotonic clock; None: never."""
        if self._ends_at is None:
            return None
        now = time.monotonic()
        return now + max(0.0, self._ends_at - now) / walks


@dataclass(slots=True)
class Walk:
    """A walk under way. Nothing is kept of a dry run's."""

    _database: Database
    kind: WalkKind
    position: str
    began_at: datetime
    stops_at: float | None
    is_kept: bool
    is_finished: bool = False
    _kept: str = ""
    _steps: int = 0

    @property
    def must_stop(self) -> bool:
        return self.stops_at is not None and time.monotonic() >= self.stops_at

    async def step(self, position: str) -> None:
        """That one has been compared."""
        self.position = position
        self._steps += 1
        if self._steps % KEEP_EACH == 0:
            await self.keep()

    async def keep(self) -> None:
        if not self.is_finished and self.position != self._kept:
            await self._write(position=self.position)
            self._kept = self.position

    async def restart(self) -> None:
        self.position = ""
        await self.keep()

    async def finish(self) -> None:
        """It went through to the end; the next one begins anew."""
        await self._write(position="", began_at=None, whole_since=self.began_at)
        self.is_finished = True

    async def _write(self, **values: Any) -> None:
        if not self.is_kept:
            return
        unmoved = (
            col(ReconcileWalk.kind) == self.kind,
            col(ReconcileWalk.began_at) == self.began_at,
            col(ReconcileWalk.position) == self._kept,
        )
        async with self._database.transaction() as session:
            connection = await session.connection()
            written = await connection.execute(update(ReconcileWalk).where(*unmoved).values(values))
        self.is_kept = written.rowcount == 1


async def begin_walk(
    database: Database,
    kind: WalkKind,
    now: datetime,
    *,
    resumes: bool,
    is_kept: bool,
    stops_at: float | None,
) -> Walk:
    """The walk under way if it `resumes`, else a new one."""
    if not is_kept:
        return Walk(database, kind, "", now, stops_at, is_kept=False)
    async with database.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            insert(ReconcileWalk).values(kind=kind, position="").on_conflict_do_nothing()
        )
        row = await session.get(ReconcileWalk, kind, with_for_update=True, populate_existing=True)
        assert row is not None
        if not resumes or row.began_at is None:
            row.position, row.began_at = "", now
            session.add(row)
        return Walk(
            database, kind, row.position, row.began_at, stops_at, is_kept=True, _kept=row.position
        )


async def whole_since(database: Database) -> datetime | None:
    """Everything has been compared since then; None: not yet."""
    async with database.reading() as session:
        rows = (await session.exec(select(ReconcileWalk))).all()
    since = {row.kind: row.whole_since for row in rows}
    return _earliest(since.get(kind) for kind in WalkKind)


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    known = list(moments)
    return None if None in known else min(each for each in known if each is not None)
