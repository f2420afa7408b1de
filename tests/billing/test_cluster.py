"""Routing to the nodes of a cluster, with lanes that only remember: moves, lost nodes, order."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import pytest

from billing_app.billing.errors import (
    CannotDecideError,
    OrganizationNotFoundError,
    ReservationNotFoundError,
)
from billing_app.billing.executions import cluster as module
from billing_app.billing.executions.cluster import Cluster
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.group_commit import GroupCommit, Lane
from billing_app.billing.executions.node_lanes import (
    FOUND,
    MOVING,
    NodeWritingLane,
    on_its_node,
)
from billing_app.billing.executions.requests import Accepted, CheckRequest, Commit, Decision, Mode
from billing_app.billing.executions.shards import MisroutedError, Node, Shard, ShardMap
from billing_app.billing.plans.trials import TrialTerms
from tests.billing.clusters import NODES, shard_map
from tests.factories import PLATFORM, check_request

ACCOUNTS = range(1, 41)


class Scene:
    """A cluster of two nodes. `actual` is where shards are; the directory has a map of its own."""

    def __init__(self) -> None:
        self.directory = Directory(TrialTerms("public", 10, None))
        self.actual = shard_map(8)
        self.directory._shards = self.actual
        self.directory.keep({(f"org_{n}", ""): n for n in ACCOUNTS})
        self.lost: set[Node] = set()
        self.seen: list[tuple[Node, str]] = []
        self.reads = 0
        self.looked_up: list[str] = []
        self.cluster = Cluster("postgresql://nobody", self.directory, None, None)
        self.cluster._open_writing = self.cluster._open_reading = self._open  # type: ignore[method-assign]
        self.cluster._accounts._lane._open_lane = self._open_directory

    async def read_shards(self, _: object) -> ShardMap:
        self.reads += 1
        self.directory._shards = self.actual
        return self.actual

    async def decide(self, *requests: Any, **more: Any) -> list[Decision]:
        return await self.cluster.decide(requests, **more)

    def on_node(self, node: Node) -> list[int]:
        return [n for n in ACCOUNTS if self.actual.shard_of(n).node == node]

    def _open(self, node: Node) -> Callable[[Callable[[], bool]], Awaitable[Lane]]:
        async def open_lane(_: Callable[[], bool]) -> Lane:
            return NodeOfMemory(self, node)

        return open_lane

    async def _open_directory(self) -> Lane:
        return DirectoryOfMemory(self)


class MemoryLane(Lane):
    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    @property
    def is_closed(self) -> bool:
        return False

    def terminate(self) -> None:
        pass

    async def close(self) -> None:
        pass


class NodeOfMemory(MemoryLane):
    def __init__(self, scene: Scene, node: Node) -> None:
        super().__init__(scene)
        self.node = node

    async def decide(self, requests: Sequence[Any]) -> list[Decision]:
        if self.node in self.scene.lost:
            raise ConnectionResetError
        for request in requests:
            account = self.scene.directory.kept((request.organization_id, ""))
            if account is None or self.scene.actual.shard_of(account).node != self.node:
                raise MisroutedError
        self.scene.seen += [(self.node, request.idempotency_key) for request in requests]
        return [Accepted(request.idempotency_key.encode()) for request in requests]


class DirectoryOfMemory(MemoryLane):
    async def decide(self, requests: Sequence[Any]) -> list[Decision]:
        found: list[Decision] = []
        for request in requests:
            if isinstance(request, CheckRequest):
                name = request.organization_id
                self.scene.looked_up.append(name)
                if name == "nobody":
                    found.append(OrganizationNotFoundError(organization_id=name))
                    continue
                self.scene.directory.keep({(name, ""): int(name.removeprefix("org_"))})
                found.append(FOUND)
            else:
                found.append(ReservationNotFoundError())
        return found


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene()

    async def connect(*_: object) -> Lane:
        return DirectoryOfMemory(made)

    async def close(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(module.store, "connect", connect)
    monkeypatch.setattr(MemoryLane, "close", close)
    monkeypatch.setattr(made.directory, "read_shards", made.read_shards)
    return made


def consume(number: int, key: str = "") -> CheckRequest:
    return check_request(Mode.CONSUME, 1, key or str(number), organization_id=f"org_{number}")


async def test_each_request_goes_to_the_node_of_its_account(scene: Scene) -> None:
    decisions = await scene.decide(*map(consume, ACCOUNTS))
    assert decisions == [Accepted(str(number).encode()) for number in ACCOUNTS]
    expected = {(scene.actual.shard_of(n).node, str(n)) for n in ACCOUNTS}
    assert set(scene.seen) == expected
    assert scene.reads == 0


async def test_requests_of_one_account_stay_in_order(scene: Scene) -> None:
    requests = [consume(n % 5 + 1, f"{n % 5 + 1}-{n}") for n in range(50)]
    await scene.decide(*requests)
    for account in range(1, 6):
        keys = [key for _, key in scene.seen if key.startswith(f"{account}-")]
        assert keys == [
            r.idempotency_key for r in requests if r.organization_id == f"org_{account}"
        ]


async def test_map_is_read_again_when_a_shard_has_moved(scene: Scene) -> None:
    scene.actual = shard_map(8, lambda _: NODES[1])
    decisions = await scene.decide(*map(consume, ACCOUNTS))
    assert all(isinstance(decision, Accepted) for decision in decisions)
    assert Counter(node for node, _ in scene.seen) == {NODES[1]: len(ACCOUNTS)}
    assert scene.reads == 1


async def test_many_requests_in_flight_share_one_reading(scene: Scene) -> None:
    scene.actual = shard_map(8, lambda _: NODES[1])
    decided = await asyncio.gather(*[scene.decide(consume(number)) for number in ACCOUNTS])
    assert all(isinstance(decision, Accepted) for (decision,) in decided)
    assert scene.reads <= 2


async def test_shard_that_is_nowhere_cannot_be_decided(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUTE_AGAIN_SECONDS", 0.0)
    scene.actual = shard_map(8, lambda _: Node("three", 1))
    monkeypatch.setattr(scene.directory, "read_shards", _nothing)
    (decision,) = await scene.decide(consume(1))
    assert isinstance(decision, CannotDecideError)
    assert scene.seen == []


async def test_lost_node_fails_its_own_accounts_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing_app.billing.executions.group_commit.RETRY_SECONDS", 0.0)
    scene.lost.add(NODES[0])
    decisions = await scene.decide(*map(consume, ACCOUNTS))
    for number, decision in zip(ACCOUNTS, decisions, strict=True):
        is_lost = number in scene.on_node(NODES[0])
        assert isinstance(decision, CannotDecideError if is_lost else Accepted)
    scene.lost.clear()
    decisions = await scene.decide(*map(consume, ACCOUNTS))
    assert all(isinstance(decision, Accepted) for decision in decisions)


async def test_unknown_organization_is_an_error_of_its_own(scene: Scene) -> None:
    nobody = check_request(Mode.CONSUME, 1, "x", organization_id="nobody")
    decisions = await scene.decide(consume(1), nobody, Commit(99, 1, None, PLATFORM), consume(2))
    assert [type(decision) for decision in decisions] == [
        Accepted,
        OrganizationNotFoundError,
        ReservationNotFoundError,
        Accepted,
    ]


async def test_forgotten_account_is_looked_up_again(scene: Scene) -> None:
    scene.directory._organizations.clear()
    (decision,) = await scene.decide(consume(3))
    assert isinstance(decision, Accepted)
    assert scene.looked_up == ["org_3"]


async def test_shard_that_is_being_moved_does_not_hold_up_the_others() -> None:
    directory = Directory(TrialTerms("public", 10, None))
    directory._shards = shards = shard_map(8)
    directory.keep({(f"org_{n}", ""): n for n in ACCOUNTS})
    moving = shards.shard_of(1)
    other = next(n for n in ACCOUNTS if shards.shard_of(n) is not moving)
    tried: list[Shard] = []

    class LaneOfMoves(NodeWritingLane):
        async def _transact(self, requests: Any, *, read_keys_first: bool) -> list[Decision]:
            tried.append(shards.shard_of(int(requests[0].organization_id.removeprefix("org_"))))
            if tried[-1] is moving:
                raise asyncpg.LockNotAvailableError
            return [Accepted(b"") for _ in requests]

        async def _is_moving(self, shard: Shard) -> bool:
            return shard is moving

    connection: Any = None
    lane = LaneOfMoves(connection, directory, lambda: False, form=on_its_node)
    assert await lane.decide([consume(1), consume(1)]) == [MOVING, MOVING]
    assert await lane.decide([consume(1)]) == [MOVING]
    assert await lane.decide([consume(other)]) == [Accepted(b"")]
    # The second time it was not waited for.
    assert tried == [moving, shards.shard_of(other)]


async def test_shards_of_a_node_take_turns() -> None:
    """A batch is of one shard, the one that has waited longest; its requests stay in order."""
    batches: list[list[str]] = []
    may_begin = asyncio.Event()

    class LaneOfTurns(Lane):
        @property
        def is_closed(self) -> bool:
            return False

        async def decide(self, requests: Sequence[Any]) -> list[Decision]:
            await may_begin.wait()
            batches.append([request.idempotency_key for request in requests])
            return [Accepted(b"") for _ in requests]

        async def close(self) -> None:
            pass

    async def open_lane(_: Callable[[], bool]) -> Lane:
        return LaneOfTurns(connection, Directory(TrialTerms("public", 10, None)))

    connection: Any = None
    lanes = GroupCommit("write", open_lane)
    futures = [
        lanes.submit((consume(1, f"{shard}{n}"),), ord(shard)) for n in range(3) for shard in "abc"
    ]
    await asyncio.sleep(0)
    may_begin.set()
    await asyncio.gather(*futures)
    await lanes.close()
    assert batches == [["a0", "a1", "a2"], ["b0", "b1", "b2"], ["c0", "c1", "c2"]]


async def _nothing(_: object) -> None:
    pass
