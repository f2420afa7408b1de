"""Shards on two nodes that nobody has to connect to."""

from collections.abc import Callable
from typing import Final

from billing_app.billing.executions.shards import Node, Shard, ShardMap
from billing_app.billing.executions.statements import PLAIN

NODES: Final = (Node("one", 5432, 1), Node("two", 5432, 2))


def shard_map(
    count: int, node_of: Callable[[int], Node] = lambda place: NODES[place % 2]
) -> ShardMap:
    """`count` equal ranges of hashes, numbered from 100 in an order of their own."""
    width = 2**32 // count
    return ShardMap(
        [
            Shard(100 + place * 7 % count, place * width - 2**31, node_of(place), PLAIN)
            for place in range(count)
        ]
    )
