"""Moving in: accounts with balances from a file, subscriptions from Stripe."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer

from billing_app.billing.actors import OperatorActor
from billing_app.billing.errors import BillingError, CannotDecideError
from billing_app.billing.imports.balances import BalanceImporter, Imported, open_importer
from billing_app.billing.imports.csv_rows import BadRow, count_lines, read_rows
from billing_app.billing.quantities import counted
from billing_app.cli.importing_stripe import import_stripe
from billing_app.cli.progress import progress
from billing_app.cli.running import look_after, now, out
from billing_app.composition import Services

app = typer.Typer(no_args_is_help=True, help="Move accounts in from elsewhere.")

app.command("stripe")(import_stripe)

SHOWN_PROBLEMS: Final = 100


@dataclass(slots=True)
class Report:
    """`problems`: the first ones, by line."""

    results: Counter[Imported] = field(default_factory=Counter[Imported])
    problems: list[str] = field(default_factory=list[str])
    failed: int = 0

    def fail(self, line: int, problem: str) -> None:
        self.failed += 1
        if len(self.problems) < SHOWN_PROBLEMS:
            self.problems.append(f"Line {line}: {problem}")


@app.command("csv")
def import_csv(
    file: Annotated[Path, typer.Argument(help="CSV file; its first line names the columns.")],
    apply: Annotated[
        bool, typer.Option("--apply/--dry-run", help="Import, or only check and report.")
    ] = False,
) -> None:
    """Import organizations and users with balances from a CSV file. Safe to stop and run again.

    Exits with 1 when lines could not be imported.
    """
    total = count_lines(file) - 1

    async def work(services: Services) -> Report:
        async with open_importer(
            services.database,
            services.terms,
            OperatorActor(),
            reason=f"Imported from {file.name}",
            dry_run=not apply,
        ) as importer:
            with progress("Importing" if apply else "Checking", total) as seen:
                return await _import_rows(importer, file, seen)

    report = look_after(work)
    for problem in report.problems:
        out.print(problem, markup=False)
    if report.failed > len(report.problems):
        out.print(
            f"… and {counted(report.failed - len(report.problems), 'more line')} with problems"
        )
    _print_results(report, is_applied=apply)
    if report.failed:
        raise typer.Exit(1)


async def _import_rows(
    importer: BalanceImporter, file: Path, seen: Callable[[int], None]
) -> Report:
    report = Report()
    for row in read_rows(file):
        seen(row.line - 1)
        if isinstance(row, BadRow):
            report.fail(row.line, row.problem)
            continue
        try:
            report.results[await importer.row(row, now())] += 1
        except CannotDecideError:
            raise
        except BillingError as error:
            report.fail(row.line, f"{row.external_id}: {error}")
    return report


def _print_results(report: Report, *, is_applied: bool) -> None:
    results = report.results
    verb, add = ("Created", "Added") if is_applied else ("Would create", "Would add")
    out.print(f"{verb} accounts: {results[Imported.CREATED]:,}")
    out.print(f"{add} balances to known accounts: {results[Imported.ADDED]:,}")
    out.print(f"Imported before: {results[Imported.KNOWN]:,}")
    out.print(f"Lines with problems: {report.failed:,}")
    if not is_applied:
        out.print("Nothing was imported. Pass --apply to import.")
