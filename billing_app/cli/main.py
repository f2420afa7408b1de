"""The command line: `python -m billing_app`."""

import asyncio
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import psycopg
import typer
from sqlalchemy.exc import OperationalError

from billing_app import __version__
from billing_app.billing.errors import BillingError
from billing_app.cli import accounts, adopting, distributing, importing, keys, offer_files, staff
from billing_app.cli.running import (
    look_after,
    now,
    out,
    require_decisions,
    resolve_database,
    run,
)
from billing_app.composition import Services
from billing_app.db import distribution, migrations, poolers
from billing_app.routes import DEMO_MAIL
from billing_app.settings import SettingsError, enter_demo, enter_demo_of_data, load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Billing for services that sell executions: plans, exact counting, payments, pages, API.",
)
app.add_typer(keys.app, name="keys")
app.add_typer(accounts.app, name="accounts")
app.add_typer(staff.app, name="staff")
app.add_typer(offer_files.app, name="offers")
app.add_typer(importing.app, name="import")
app.command()(adopting.adopt)
app.command()(distributing.distribute)

HostOption = Annotated[str, typer.Option(help="Address to listen on.")]
PortOption = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
WorkersOption = Annotated[int, typer.Option(min=1, max=64, help="Number of server processes.")]

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 3000
EXIT_REFUSED: Final = 2
EXIT_INTERRUPTED: Final = 130


def main() -> None:
    """Run the command line. Errors that the operator can fix are one line on stderr."""
    from billing_app.replay import ReplayError
    from billing_app.serving import ServingError

    refused = (
        SettingsError,
        migrations.DatabaseBehindError,
        poolers.PoolerError,
        distribution.DistributionError,
        BillingError,
        ReplayError,
        ServingError,
    )
    try:
        app()
    except refused as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_REFUSED)
    except (psycopg.OperationalError, OperationalError) as error:
        cause = error.orig if isinstance(error, OperationalError) and error.orig else error
        reason = str(cause).splitlines()[0]
        what = "cannot be used" if poolers.is_sign(reason) else "does not respond"
        print(f"The database {what}: {poolers.explain(reason)}", file=sys.stderr)
        sys.exit(EXIT_REFUSED)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Global options."""


@app.command()
def serve(
    host: HostOption = DEFAULT_HOST, port: PortOption = DEFAULT_PORT, workers: WorkersOption = 1
) -> None:
    """Serve the pages and the API."""
    from billing_app import serving

    _prepare_to_serve(host, port, workers)
    run(adopting.require_own_account)
    serving.serve(host, port, workers)


@app.command()
def api(
    host: HostOption = DEFAULT_HOST, port: PortOption = DEFAULT_PORT, workers: WorkersOption = 1
) -> None:
    """Serve only the API."""
    from billing_app import serving

    _prepare_to_serve(host, port, workers)
    run(adopting.require_own_account)
    serving.serve_api(host, port, workers)


@app.command()
def build_pages() -> None:
    """Build the pages, unless they are built: `serve` then starts at once, on read-only files."""
    from billing_app import serving

    serving.build_pages()


@app.command()
def worker() -> None:
    """Run background jobs: webhooks, mail, top-ups, reconciliation, retention, checks."""
    url = resolve_database()
    migrations.require_current(url)
    run(require_decisions)
    run(adopting.require_own_account)
    from billing_app.jobs.worker import run_worker

    run_worker(url)


@app.command()
def migrate() -> None:
    """Upgrade the database to the current schema."""
    enter_demo_of_data()
    url = resolve_database()
    migrations.upgrade(url)
    if placed := distributing.place_new(url):
        out.print(f"Placed on the cluster: {', '.join(placed)}.")
    out.print(f"The database is at revision {migrations.head_revision()}.")


@app.command()
def seed(
    demo: Annotated[bool, typer.Option("--demo", help="Required to confirm.")] = False,
) -> None:
    """Fill an empty database with demo data."""
    if not demo:
        raise typer.BadParameter("Pass --demo to confirm.")
    enter_demo()
    migrations.upgrade(resolve_database())
    out.print(run(_seed_demo))


@app.command()
def demo(
    host: HostOption = DEFAULT_HOST,
    port: PortOption = DEFAULT_PORT,
    api_only: Annotated[bool, typer.Option("--api-only", help="Serve only the API.")] = False,
) -> None:
    """Start everything with demo data, on an embedded PostgreSQL unless DATABASE_URL is set."""
    from billing_app import serving
    from billing_app.demo.processes import demo_processes

    serving.require_free(host, port)
    enter_demo(port)
    own = load_settings().database_url is None
    server = "Starting PostgreSQL (embedded)" if own else "Using PostgreSQL at DATABASE_URL"
    out.print(f"{server}, migrating, seeding demo data")
    migrations.upgrade(resolve_database())
    if not api_only:
        serving.build_pages()
    _prepare_to_serve(host, port, workers=1)
    with demo_processes(port):
        welcome = run(partial(_seed_demo, with_payments=True))
        serving.when_answering(host, port, lambda: out.print(welcome))
        (serving.serve_api if api_only else serving.serve)(host, port, 1)


@app.command()
def verify() -> None:
    """Recompute every balance from the ledger. Lists differences and exits with 1 if any."""
    from billing_app.billing.executions.verification import verify as find_differences

    differences = look_after(lambda services: find_differences(services.database))
    for difference in differences:
        out.print(
            f"{difference.account_id} {difference.figure}, {difference.row}:"
            f" expected {difference.expected}, found {difference.actual}"
        )
    if differences:
        raise typer.Exit(1)
    out.print("All balances match the ledger.")


@app.command()
def reconcile(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report differences without repairing them.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue where the last run stopped.")
    ] = False,
    seconds: Annotated[
        int | None,
        typer.Option(min=1, help="Stop comparing customers after this time (default: at the end)."),
    ] = None,
) -> None:
    """Compare with the payment provider, report each difference and repair what is safe.

    Exits with 1 when differences remain.
    """
    from billing_app.payments.reconcile_walks import Extent
    from billing_app.payments.reconciliation import reconcile as compare

    differences = look_after(
        lambda services: compare(
            services.database,
            services.provider,
            services.subscriptions,
            now=now(),
            dry_run=dry_run,
            extent=Extent(resumes=resume, seconds=seconds),
        )
    )
    for difference in differences:
        about = f"{difference.account_id} {difference.what} {difference.provider_id}".strip()
        suffix = " (repaired)" if difference.healed else ""
        out.print(f"{about}: ours {difference.ours}, theirs {difference.theirs}{suffix}")
    healed = sum(difference.healed for difference in differences)
    left = len(differences) - healed
    out.print(f"Differences: {len(differences)} found, {healed} repaired, {left} left.")
    if left and not dry_run:
        raise typer.Exit(1)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="CSV file; each row is one execution.")],
    organization: Annotated[str, typer.Option(help="ID of the organization to charge.")],
    base_url: Annotated[
        str, typer.Option(help="Address of the API, for example http://localhost:3000.")
    ],
    key: Annotated[str, typer.Option(help="API key with the scope executions.")],
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="1 keeps the recorded pace, 10 is ten times faster (default: no waits)."
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=512, help="Number of connections.")] = 32,
) -> None:
    """Consume one execution for each row of a file. Safe to stop and run again."""
    from billing_app.replay import ReplayStoppedError, Target
    from billing_app.replay import replay as send

    target = Target(base_url=base_url, api_key=key, organization_id=organization)
    try:
        counts = asyncio.run(send(file, target, speed=speed, concurrency=concurrency))
    except ReplayStoppedError as stopped:
        out.print(f"{stopped.counts}\n{stopped}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    out.print(str(counts))


def _prepare_to_serve(host: str, port: int, workers: int) -> None:
    from billing_app.api.app import prepare
    from billing_app.serving import require_free

    if workers > 1:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="billing-"))
    run(require_decisions)
    run(prepare)
    require_free(host, port)


async def _seed_demo(services: Services, *, with_payments: bool = False) -> str:
    """Create the demo data. Returns the address, the sign-ins and a request to try."""
    from billing_app.api.app import prepare
    from billing_app.demo.seed import PASSWORD, seed_demo

    await prepare(services)
    made = await seed_demo(services, now(), with_payments=with_payments)
    address, mail = services.settings.public_url, services.settings.mail_directory
    kept = f"  Mail is not sent; see {address}{DEMO_MAIL}\n" if mail else ""
    sign_ins = "".join(
        f"  Sign in as {email}  password: {PASSWORD}  ({who})\n" for email, who in made.sign_ins
    )
    return (
        f"\n  {address}\n\n{sign_ins}{kept}"
        f"\n  curl {address}/billing/plans/check-executions \\\n"
        f"    -H 'Authorization: Bearer {made.key}' \\\n"
        "    -H 'Content-Type: application/json' -H \"Idempotency-Key: $(date +%s)-$RANDOM\" \\\n"
        f'    -d \'{{"organization_id": "{made.organization_id}",'
        ' "mode": "consume", "workflow": "support-triage"}\'\n'
    )
