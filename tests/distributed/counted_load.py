"""Consumes that never end by themselves, on accounts of all shards; each is retried under its key
until it is acknowledged. What was acknowledged must be what is counted."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from billing_app.billing.errors import CannotDecideError
from billing_app.billing.executions.requests import Accepted, CheckRequest, Mode
from billing_app.billing.executions.service import Executions
from billing_app.billing.executions.shards import hash_of
from billing_app.billing.executions.verification import verify
from billing_app.billing.plans.trials import TrialTerms
from billing_app.db.engine import Database
from tests.conftest import PUBLIC, TRIAL_EXECUTIONS
from tests.factories import PLATFORM_SERVICE, Holder, check_request, connect, organization

EXECUTIONS = 1_000_000
SHARDS = """
SELECT shard.shardid, shard.shardminvalue::int, shard.shardmaxvalue::int,
       node.nodename, node.nodeport
FROM pg_dist_shard AS shard
JOIN pg_dist_placement AS placement USING (shardid)
JOIN pg_dist_node AS node USING (groupid)
WHERE shard.logicalrelid = 'plans'::regclass ORDER BY 2
"""


@dataclass(frozen=True)
class Place:
    shard: int
    first: int
    last: int
    host: str
    port: int


def places(url: str) -> list[Place]:
    """The shards of `plans`, in the order of their ranges."""
    with connect(url) as connection:
        return [Place(*row) for row in connection.execute(SHARDS).fetchall()]


def place_of(url: str, account_id: int) -> Place:
    return next(p for p in places(url) if p.first <= hash_of(account_id) <= p.last)


def holders_of_all_shards(url: str, each: int = 3) -> list[Holder]:
    """So many organizations on each shard."""
    held: Counter[int] = Counter()
    holders: list[Holder] = []
    shards = places(url)
    while len(holders) < each * len(shards):
        holder = organization(url)
        shard = next(p.shard for p in shards if p.first <= hash_of(holder.account_number) <= p.last)
        if held[shard] < each:
            held[shard] += 1
            holders.append(holder)
    for holder in holders:
        _grant(url, holder)
    return holders


def _grant(url: str, holder: Holder) -> None:
    from tests.factories import add_plan

    add_plan(url, holder, 1, EXECUTIONS)


def consume(holder: Holder, key: str, executions: int = 1) -> CheckRequest:
    return check_request(Mode.CONSUME, executions, key, organization_id=holder.organization_id)


def service(url: str) -> Executions:
    return Executions(url, TrialTerms(PUBLIC, TRIAL_EXECUTIONS, days=None))


@dataclass
class CountedLoad:
    """`acknowledged` by organization; `refused`: how often an answer was 503, by organization;
    `answered_at`: when each was acknowledged last, monotonic."""

    url: str
    executions: Executions
    holders: list[Holder]
    clients: int = 3
    acknowledged: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    answered_at: dict[str, float] = field(default_factory=dict)
    replays: int = 0
    longest_seconds: float = 0.0
    _is_over: bool = False
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    async def begin(self) -> None:
        """Returns when every account has been counted once."""
        numbers = count()
        for holder in self.holders:
            for _ in range(self.clients):
                self._tasks.append(asyncio.create_task(self._client(holder, numbers)))
        async with asyncio.timeout(60):
            while len(self.acknowledged) < len(self.holders):  # noqa: ASYNC110 - any may be last
                await asyncio.sleep(0.05)

    async def end(self) -> None:
        """Every request that was sent is acknowledged."""
        self._is_over = True
        async with asyncio.timeout(60):
            await asyncio.gather(*self._tasks)

    async def assert_counted(self) -> None:
        """Nothing acknowledged is lost, nothing is counted twice."""
        with connect(self.url) as connection:
            used = dict(
                connection.execute(
                    "SELECT a.organization_id, p.used FROM plans AS p"
                    " JOIN accounts AS a ON a.id = p.account_id WHERE p.used > 0"
                ).fetchall()
            )
            (keys,) = connection.execute("SELECT count(*) FROM idempotency_keys").fetchall()[0]
        assert used == dict(self.acknowledged)
        assert keys == self.acknowledged.total()
        database = Database(self.url)
        try:
            assert list(await verify(database)) == []
        finally:
            await database.dispose()

    def acknowledged_since(self, moment: float) -> set[str]:
        return {name for name, at in self.answered_at.items() if at > moment}

    async def _client(self, holder: Holder, numbers: "count[int]") -> None:
        while not self._is_over:
            await self._consume(holder, f"load-{next(numbers)}")

    async def _consume(self, holder: Holder, key: str) -> None:
        name = holder.organization_id
        began = time.monotonic()
        while True:
            try:
                decision = await self.executions.decide(PLATFORM_SERVICE, consume(holder, key))
            except CannotDecideError as error:
                decision = error
            if isinstance(decision, Accepted):
                break
            assert isinstance(decision, CannotDecideError), decision
            self.refused[name] += 1
            await asyncio.sleep(0.1)
        self.replays += decision.replayed
        self.acknowledged[name] += 1
        self.answered_at[name] = time.monotonic()
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
