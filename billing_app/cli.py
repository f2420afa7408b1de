"""The command line: start things, make keys and organizations, verify, replay."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final, TypeVar

import psycopg
import typer
from rich.console import Console
from sqlalchemy.exc import OperationalError

from billing_app.billing.actors import OperatorActor
from billing_app.billing.errors import BillingError
from billing_app.composition import Services, build_services
from billing_app.db import migrations
from billing_app.db.embedded import database_url
from billing_app.db.words import Scope, StaffRole
from billing_app.settings import SettingsError, enter_demo, enter_demo_of_data, load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The billing app: plans, exact counting of executions, pages, API.",
)
keys_app = typer.Typer(no_args_is_help=True, help="Keys of services.")
accounts_app = typer.Typer(no_args_is_help=True, help="Organizations and their plans.")
app.add_typer(keys_app, name="keys")
staff_app = typer.Typer(no_args_is_help=True, help="People of the house and their roles.")
app.add_typer(accounts_app, name="accounts")
app.add_typer(staff_app, name="staff")

HostOption = Annotated[str, typer.Option(help="Address to listen on.")]
PortOption = Annotated[int, typer.Option(min=1, max=65535)]
WorkersOption = Annotated[int, typer.Option(min=1, max=64, help="Processes.")]

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 3000
EXIT_REFUSED: Final = 2
EXIT_INTERRUPTED: Final = 130

Result = TypeVar("Result")
out = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; what a person can mend is one line on stderr, not a trace."""
    from billing_app.replay import ReplayError
    from billing_app.serving import ServingError

    refused = (
        SettingsError,
        migrations.DatabaseBehindError,
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
        said = error.orig if isinstance(error, OperationalError) and error.orig else error
        reason = str(said).splitlines()[0]
        print(f"The database does not answer: {reason}", file=sys.stderr)
        sys.exit(EXIT_REFUSED)


@app.command()
def serve(
    host: HostOption = DEFAULT_HOST, port: PortOption = DEFAULT_PORT, workers: WorkersOption = 1
) -> None:
    """Serve pages and API."""
    from billing_app import serving

    _prepare_to_serve(host, port, workers)
    serving.serve(host, port, workers)


@app.command()
def api(
    host: HostOption = DEFAULT_HOST, port: PortOption = DEFAULT_PORT, workers: WorkersOption = 1
) -> None:
    """Serve the API alone, without the pages."""
    from billing_app import serving

    _prepare_to_serve(host, port, workers)
    serving.serve_api(host, port, workers)


@app.command()
def worker() -> None:
    """Run background work: retention, the nightly comparison of ledger and balances."""
    url = _resolve_database()
    migrations.require_current(url)
    from billing_app.jobs.worker import run_worker

    run_worker(url)


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    enter_demo_of_data()
    url = _resolve_database()
    migrations.upgrade(url)
    out.print(f"The database is at revision {migrations.head_revision()}.")


@app.command()
def seed(
    demo: Annotated[bool, typer.Option("--demo", help="The demo's people and history.")] = False,
) -> None:
    """Fill the database with demo data, once."""
    if not demo:
        raise typer.BadParameter("Say --demo: there is no other data to seed.")
    enter_demo()
    migrations.upgrade(_resolve_database())
    out.print(_run(_seed_demo))


@app.command()
def demo(
    host: HostOption = DEFAULT_HOST,
    port: PortOption = DEFAULT_PORT,
    api_only: Annotated[bool, typer.Option("--api-only", help="Without the pages.")] = False,
) -> None:
    """Start everything with demo data, on an embedded PostgreSQL unless DATABASE_URL is set."""
    from billing_app import serving
    from billing_app.demo_processes import demo_processes

    serving.require_free(host, port)
    enter_demo(port)
    own = load_settings().database_url is None
    server = "Starting PostgreSQL (embedded)" if own else "Using the PostgreSQL of DATABASE_URL"
    out.print(f"{server}, migrating, seeding demo data")
    migrations.upgrade(_resolve_database())
    if not api_only:
        serving.build_pages()
    _prepare_to_serve(host, port, workers=1)
    with demo_processes(port):
        words = _run(partial(_seed_demo, with_payments=True))
        serving.when_answering(host, port, lambda: out.print(words))
        (serving.serve_api if api_only else serving.serve)(host, port, 1)


@app.command()
def verify() -> None:
    """Recompute every balance from the ledger; exit 1 and list the differences if there are any."""
    from billing_app.billing.verification import verify as find_differences

    differences = _look_after(lambda services: find_differences(services.database))
    for found in differences:
        out.print(
            f"{found.account_id} {found.what}, {found.where}:"
            f" expected {found.expected}, found {found.found}"
        )
    if differences:
        raise typer.Exit(1)
    out.print("Every balance equals its ledger.")


@app.command()
def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell, change nothing.")] = False,
) -> None:
    """Compare with the payment provider, name each difference, heal what is safe.

    Exits with 1 when something is left.
    """
    from billing_app.payments.reconciliation import reconcile as compare

    found = _look_after(
        lambda services: compare(
            services.database,
            services.provider,
            services.subscriptions,
            now=_now(),
            dry_run=dry_run,
        )
    )
    for difference in found:
        about = f"{difference.account_id} {difference.what} {difference.provider_id}".strip()
        done = " (healed)" if difference.healed else ""
        out.print(f"{about}: here {difference.ours}, there {difference.theirs}{done}")
    healed = sum(difference.healed for difference in found)
    out.print(f"{len(found)} differences, {healed} healed, {len(found) - healed} left.")
    if healed < len(found) and not dry_run:
        raise typer.Exit(1)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="CSV; one row is one execution.")],
    organization: Annotated[str, typer.Option(help="Whose executions.")],
    base_url: Annotated[str, typer.Option(help="Where the API is.")],
    key: Annotated[str, typer.Option(help="A key with the scope executions.")],
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="1: as recorded; default: at once.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=512)] = 32,
) -> None:
    """Send one consume for each row; can be stopped and run again without counting twice."""
    from billing_app.replay import ReplayStoppedError, Target
    from billing_app.replay import replay as send

    target = Target(base_url=base_url.rstrip("/"), api_key=key, organization_id=organization)
    try:
        counts = asyncio.run(send(file, target, speed=speed, concurrency=concurrency))
    except ReplayStoppedError as stopped:
        out.print(f"{stopped.counts}\n{stopped}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    out.print(str(counts))


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be repeated.")],
    organization: Annotated[str | None, typer.Option(help="The organization it is for.")] = None,
    platform: Annotated[bool, typer.Option("--platform", help="For all organizations.")] = False,
    role: Annotated[
        StaffRole | None, typer.Option(help="Of a key with the scope staff; billing by default.")
    ] = None,
) -> None:
    """Make a key and print it, once, alone on its line."""
    from billing_app.billing import api_keys

    if (organization is None) is not platform:
        raise typer.BadParameter("Give either --organization ID or --platform.")
    made = _look_after(
        lambda services: api_keys.create_key(
            services.database,
            OperatorActor(),
            name=name,
            scopes=frozenset(scope),
            organization_id=organization,
            now=_now(),
            staff_role=role or (StaffRole.BILLING if Scope.STAFF in scope else None),
        )
    )
    print(made.secret)


@keys_app.command("revoke")
def revoke_key(key_id: Annotated[int, typer.Argument(help="The number in `keys list`.")]) -> None:
    """Stop a key; it is refused everywhere within 5 seconds."""
    from billing_app.billing import api_keys

    revoked = _look_after(
        lambda services: api_keys.revoke_key(
            services.database, OperatorActor(), key_id=key_id, now=_now()
        )
    )
    if not revoked:
        raise typer.BadParameter(f"There is no live key {key_id}.")


@keys_app.command("list")
def list_keys() -> None:
    """Show keys, newest first, without their secrets."""
    from billing_app.billing import api_keys

    keys = _look_after(lambda services: api_keys.list_keys(services.database, OperatorActor()))
    for found in keys:
        out.print(
            f"{found.id}  {found.hint}…  {found.name}  {' '.join(found.scopes)}"
            f"  {found.organization_id or 'platform'}  {'revoked' if found.revoked else 'live'}"
            f"  {found.staff_role or ''}"
        )


@accounts_app.command("create-organization")
def create_organization(
    name: Annotated[str, typer.Argument()],
    executions: Annotated[int, typer.Option(help="Of its first paid plan.")],
) -> None:
    """Make an organization with a paid plan and print its id, alone on its line."""
    from billing_app.billing import accounts

    organization_id = _look_after(
        lambda services: accounts.create_organization(
            services.database, OperatorActor(), name=name, executions=executions, now=_now()
        )
    )
    print(organization_id)


@accounts_app.command("add-plan")
def add_plan(
    organization: Annotated[str, typer.Argument(help="The organization's id.")],
    executions: Annotated[int, typer.Option()],
    name: Annotated[str, typer.Option()] = "Contract",
) -> None:
    """Queue one more paid plan; prints its place in the queue."""
    from billing_app.billing import accounts

    sequence = _look_after(
        lambda services: accounts.add_plan(
            services.database,
            OperatorActor(),
            organization_id=organization,
            executions=executions,
            name=name,
            now=_now(),
        )
    )
    print(sequence)


ReasonOption = Annotated[str, typer.Option(help="For the audit log.")]


@staff_app.command("add")
def add_staff(
    email: Annotated[str, typer.Argument()],
    role: Annotated[StaffRole, typer.Option()],
    reason: ReasonOption = "Added on the command line",
) -> None:
    """Give somebody a role, or another one. Prints the password of a new user, once."""
    from billing_app.billing.staff import members

    added = _look_after(
        lambda services: members.add_member(
            services.database, OperatorActor(), email=email, role=role, reason=reason, now=_now()
        )
    )
    if added.password is not None:
        print(added.password)


@staff_app.command("remove")
def remove_staff(
    email: Annotated[str, typer.Argument()],
    reason: ReasonOption = "Removed on the command line",
) -> None:
    """Take somebody's role away at once; the last admin stays."""
    from billing_app.billing.staff import members

    async def remove(services: Services) -> None:
        found = await members.find_member(services.database, OperatorActor(), email=email)
        await members.remove_member(
            services.database, OperatorActor(), user_id=found.user_id, reason=reason, now=_now()
        )

    _look_after(remove)


@staff_app.command("list")
def list_staff() -> None:
    """Show everybody with a role."""
    from billing_app.billing.staff import members

    for found in _look_after(
        lambda services: members.list_members(services.database, OperatorActor())
    ):
        out.print(f"{found.email}  {found.role}  since {found.added_at:%Y-%m-%d}")


def _look_after(work: Callable[[Services], Awaitable[Result]]) -> Result:
    """Do the work on the configured database, or without settings on the demo's."""
    enter_demo_of_data()
    return _run(work)


def _run(work: Callable[[Services], Awaitable[Result]]) -> Result:
    """Do the work with services of its own, on a database that is not behind."""

    async def with_services() -> Result:
        url = _resolve_database()
        migrations.require_current(url)
        services = build_services(load_settings(), url)
        try:
            return await work(services)
        finally:
            await services.close()

    return asyncio.run(with_services())


def _resolve_database() -> str:
    """The database's URL, also for child processes; starts the embedded server if need be."""
    url = database_url(load_settings())
    os.environ["DATABASE_URL"] = url
    load_settings.cache_clear()
    return url


def _prepare_to_serve(host: str, port: int, workers: int) -> None:
    from billing_app.api.app import prepare
    from billing_app.serving import require_free

    if workers > 1:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="billing-"))
    _run(prepare)
    require_free(host, port)


async def _seed_demo(services: Services, *, with_payments: bool = False) -> str:
    """Make the demo's data; returns the address, the sign-ins and a request to try."""
    from billing_app.api.app import prepare
    from billing_app.demo import PASSWORD, seed_demo

    await prepare(services)
    made = await seed_demo(services, _now(), with_payments=with_payments)
    address = services.settings.public_url
    sign_ins = "".join(
        f"  Sign in as {email}  password: {PASSWORD}  ({who})\n" for email, who in made.sign_ins
    )
    return (
        f"\n  {address}\n\n{sign_ins}"
        f"\n  curl {address}/billing/plans/check-executions \\\n"
        f"    -H 'Authorization: Bearer {made.key}' \\\n"
        "    -H 'Content-Type: application/json' -H \"Idempotency-Key: $(date +%s)-$RANDOM\" \\\n"
        f'    -d \'{{"organization_id": "{made.organization_id}",'
        ' "mode": "consume", "workflow": "support-triage"}\'\n'
    )


def _now() -> datetime:
    return datetime.now(UTC)
