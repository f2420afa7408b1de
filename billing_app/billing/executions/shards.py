"""Where accounts live on a Citus cluster: which shard holds an account, and which node the shard.

Metadata tables: https://docs.citusdata.com/en/stable/develop/api_metadata.html. A map may be out of
date: whoever uses it finds out where it matters (statements.of_shard), and reads it again.
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from billing_app.billing.errors import CannotDecideError
from billing_app.billing.executions.driver import Connection, array
from billing_app.billing.executions.statements import Statements, of_shard
from billing_app.db.distribution import DISTRIBUTED

MAX_KEPT: Final = 500_000

IS_DISTRIBUTED: Final = """
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')
   AND to_regclass('plans') IS NOT NULL AS has_citus
"""
SHARDS: Final = """
SELECT shard.logicalrelid::regclass::text AS table_name, shard.shardid,
       shard_name(shard.logicalrelid, shard.shardid) AS shard_table,
       shard.shardminvalue::int AS starts_at, placement.groupid,
       node.nodename, node.nodeport, node.metadatasynced
FROM pg_dist_shard AS shard
JOIN pg_dist_placement AS placement USING (shardid)
JOIN pg_dist_node AS node ON node.groupid = placement.groupid AND node.noderole = 'primary'
WHERE shard.logicalrelid::regclass::text = ANY($1::text::text[]) AND shard.shardminvalue IS NOT NULL
ORDER BY starts_at, table_name
"""
LOCAL_GROUP: Final = "SELECT groupid FROM pg_dist_local_group"
HASHES: Final = "SELECT worker_hash(number) FROM unnest($1::text::bigint[]) AS number"
# The sign and both halves of a bigint take part in its hash.
PROBES: Final = (0, 1, -1, 2**31, 2**32 + 1, -(2**40), 2**62 + 12_345, -(2**63), 2**63 - 1)

_BITS: Final = 0xFFFFFFFF
_SEED: Final = (0x9E3779B9 + 4 + 3_923_095) & _BITS
_ROUNDS: Final = ((2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24))


class MisroutedError(CannotDecideError):
    """The node does not hold the shard, or this process has forgotten the account. Nothing was
    decided; the request is to be routed again."""


class Node(msgspec.Struct, frozen=True):
    """`host` "": the coordinator, at its own URL. `group` is Citus' number of it. `is_direct`: its
    tables can be addressed there, because it has the cluster's metadata."""

    host: str = ""
    port: int = 0
    group: int = 0
    is_direct: bool = True


class Shard(msgspec.Struct, frozen=True, eq=False):
    """A range of hashes. `number` is Citus' id of the shard of `plans`."""

    number: int
    starts_at: int
    node: Node
    statements: Statements


class ShardMap:
    """All shards, which together hold every account."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = sorted(shards, key=lambda shard: shard.starts_at)
        self._starts = [shard.starts_at for shard in self._shards]
        self._kept: dict[int, Shard] = {}

    def shard_of(self, account_id: int) -> Shard:
        shard = self._kept.get(account_id)
        if shard is None:
            place = bisect_right(self._starts, hash_of(account_id)) - 1
            shard = self._shards[place]
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[account_id] = shard
        return shard

    def split(self, account_ids: Sequence[int]) -> list[tuple[Shard, list[int]]]:
        """Positions of accounts in the sequence, by shard; in the order that all processes lock."""
        positions: dict[Shard, list[int]] = {}
        for position, account_id in enumerate(account_ids):
            positions.setdefault(self.shard_of(account_id), []).append(position)
        return sorted(positions.items(), key=lambda item: item[0].number)

    @property
    def nodes(self) -> set[Node]:
        return {shard.node for shard in self._shards}


def hash_of(account_id: int) -> int:
    """PostgreSQL's hashint8, by which Citus distributes: a signed number of 32 bits.

    Source: hashint8 in PostgreSQL's hashfunc.c and hash_bytes_uint32 in hashfn.c.
    """
    high = (account_id >> 32) & _BITS
    folded = (account_id & _BITS) ^ (high if account_id >= 0 else ~high & _BITS)
    state = [(_SEED + folded) & _BITS, _SEED, _SEED]
    for target, source, bits in _ROUNDS:
        word = state[source]
        rotated = (word << bits | word >> (32 - bits)) & _BITS
        state[target] = ((state[target] ^ word) - rotated) & _BITS
    return state[2] - 2**32 if state[2] >= 2**31 else state[2]


async def read_shards(connection: Connection) -> ShardMap | None:
    """The shards as the coordinator knows them; None: the tables are not distributed.

    Raises RuntimeError when accounts could not be found by the map.
    """
    if not (await connection.fetch(IS_DISTRIBUTED))[0]["has_citus"]:
        return None
    rows = await connection.fetch(SHARDS, array(DISTRIBUTED))
    if not rows:
        return None
    hashes = [row[0] for row in await connection.fetch(HASHES, array(PROBES))]
    if hashes != [hash_of(number) for number in PROBES]:
        raise RuntimeError("The cluster distributes by another hash")
    return ShardMap(list(_shards(rows)))


def _shards(rows: Iterable[Any]) -> Iterable[Shard]:
    for starts_at, group in itertools.groupby(rows, key=lambda row: row["starts_at"]):
        colocated = {row["table_name"]: row for row in group}
        missing = set(DISTRIBUTED) - colocated.keys()
        if missing or len({row["groupid"] for row in colocated.values()}) > 1:
            raise RuntimeError("Not all tables of the ledger are distributed alike")
        plans = colocated["plans"]
        tables = {name: row["shard_table"] for name, row in colocated.items()}
        number = plans["shardid"]
        yield Shard(number, starts_at, _node(plans), of_shard(number, plans["groupid"], tables))


def _node(row: Any) -> Node:
    if row["groupid"] == 0:
        return Node()
    return Node(row["nodename"], row["nodeport"], row["groupid"], row["metadatasynced"])
