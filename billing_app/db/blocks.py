"""Deletes old rows a block at a time, also from tables that are distributed over a cluster."""

from datetime import date
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

# By the place of the rows: no index is needed to find them a second time.
DELETE: Final = (
    "DELETE FROM {table} WHERE ctid = ANY(ARRAY("
    "SELECT ctid FROM {table} WHERE {column} < '{before}' LIMIT {rows}))"
)
HAS_CITUS: Final = text("SELECT to_regclass('pg_dist_partition') IS NOT NULL")
IS_DISTRIBUTED: Final = text(
    "SELECT EXISTS (SELECT FROM pg_dist_partition"
    " WHERE logicalrelid = CAST(:table AS regclass) AND partmethod = 'h')"
)
# Places mean something within a shard only. Citus puts its name into the command.
ON_SHARDS: Final = text(
    "SELECT success, result FROM run_command_on_shards(CAST(:table AS regclass), :command)"
)
COUNTED: Final = "WITH gone AS ({delete} RETURNING 1) SELECT count(*) FROM gone"


class ShardError(Exception):
    """A shard did not carry out a command; others may have."""


async def delete_block(
    session: AsyncSession, table: str, column: str, before: date, rows: int
) -> int:
    """Delete at most `rows` rows, or so many of each shard, whose `column` is before that; returns
    how many. Fewer than `rows`: there are no more. Raises ShardError."""
    connection = await session.connection()
    values = {"column": column, "before": before.isoformat(), "rows": rows}
    is_distributed = (await connection.execute(HAS_CITUS)).scalar_one() and (
        await connection.execute(IS_DISTRIBUTED, {"table": table})
    ).scalar_one()
    if not is_distributed:
        return (await connection.execute(text(DELETE.format(table=table, **values)))).rowcount
    command = COUNTED.format(delete=DELETE.format(table="%1$s", **values))
    found = (await connection.execute(ON_SHARDS, {"table": table, "command": command})).all()
    if failed := [result for success, result in found if not success]:
        raise ShardError(failed[0])
    return sum(int(result) for _, result in found)
