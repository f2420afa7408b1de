"""`distribute`: puts every table in its place on a Citus cluster."""

from typing import Annotated

import typer
from rich.table import Table

from billing_app.cli.running import out, resolve_database
from billing_app.db import distribution, migrations
from billing_app.db.distribution import Schema, Step
from billing_app.settings import enter_demo_of_data


def distribute(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
) -> None:
    """Spread the tables over the nodes of a Citus cluster. Nothing of the app may run meanwhile."""
    enter_demo_of_data()
    url = resolve_database()
    migrations.require_current(url)
    schema, steps = distribution.distribute(url, dry_run=dry_run)
    out.print(_places(schema, steps))
    if not steps:
        out.print("Every table is in its place. Nothing to do.")
    elif dry_run:
        out.print(f"{len(steps)} steps to do. Nothing was changed.")
    else:
        out.print(f"Done: {len(steps)} steps.")


def place_new(url: str) -> list[str]:
    """Put the tables of a later release in their place, if the others are; returns their names."""
    if not distribution.is_distributed(url):
        return []
    _, steps = distribution.distribute(url)
    return sorted({step.table for step in steps})


def _places(schema: Schema, steps: list[Step]) -> Table:
    """A row for each table: where it is, where it belongs, and the steps to get there."""
    table = Table("table", "was", "belongs", "steps")
    for name, placement in schema.tables.items():
        changes = [step.change for step in steps if step.table == name]
        table.add_row(name, placement, distribution.wanted(name), "\n".join(changes))
    return table
