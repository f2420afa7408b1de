"""Which transactions wrote what is in a database: what a call changed there."""

from typing import Any

from tests.factories import connect


class Transactions:
    """Which transactions wrote the rows that are there, by table; and how many rows there are."""

    def __init__(self, url: str) -> None:
        with connect(url) as connection:
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r'"
                " AND relnamespace = 'public'::regnamespace"
            ).fetchall()
            self.found: dict[str, dict[str, int]] = {
                table: dict(_count_by_transaction(connection, table)) for (table,) in tables
            }

    def new_since(self, before: "Transactions") -> dict[str, set[str]]:
        return {
            table: set(rows) - set(before.found[table])
            for table, rows in self.found.items()
            if set(rows) - set(before.found[table])
        }

    def lost_since(self, before: "Transactions") -> set[str]:
        return {
            table
            for table, rows in self.found.items()
            if sum(rows.values()) < sum(before.found[table].values())
        }


def _count_by_transaction(connection: Any, table: str) -> list[tuple[str, int]]:
    query = f'SELECT xmin::text, count(*) FROM "{table}" GROUP BY 1'  # noqa: S608
    return connection.execute(query).fetchall()
