"""More customers of the demo, so that the staff console has something to show: a dozen
organizations, near and far from their limits, and what the staff did for some of them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import col, select

from billing_app.billing import ids
from billing_app.billing.accounts import create_organization
from billing_app.billing.actors import OperatorActor, StaffActor
from billing_app.billing.executions import store
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.requests import DEFAULT_HOLD_SECONDS, Ask, Caller, Mode
from billing_app.billing.staff.grants import grant_executions
from billing_app.billing.staff.stopping import block_account
from billing_app.composition import Services
from billing_app.db.tables import Account
from billing_app.db.urls import for_asyncpg
from billing_app.db.words import AccountKind

# Name, executions, percent of them used, age in days.
CUSTOMERS: Final = (
    ("Alpenglow Analytics", 40_000, 31, 88),
    ("Bergström & Söner", 25_000, 93, 74),
    ("Café Lumière", 5_000, 99, 61),
    ("Delta Freight", 120_000, 54, 57),
    ("Éclair Robotics", 60_000, 82, 43),
    ("Fjord Insurance", 250_000, 12, 39),
    ("Greenhouse Labs", 15_000, 100, 33),
    ("Harbor Legal", 30_000, 66, 28),
    ("Iris Diagnostics", 90_000, 87, 21),
    ("Juniper Travel", 10_000, 45, 16),
    ("Kestrel Games", 50_000, 3, 9),
    ("Lumen Energy", 75_000, 0, 2),
)
BLOCKED: Final = "Harbor Legal"
HELPED: Final = {
    "Café Lumière": (1_000, "A webhook loop of ours used up their executions"),
    "Greenhouse Labs": (2_500, "Bridges the days until their new contract"),
    "Éclair Robotics": (500, "The nightly report failed twice on our side"),
}
CHUNKS: Final = 4
WORKFLOWS: Final = ("invoice-extraction", "support-triage", "nightly-report")


async def seed_customers(services: Services, staff: StaffActor, now: datetime) -> None:
    """A few dozen small transactions, well under a second."""
    connection = await store.connect(for_asyncpg(services.database.url))
    directory = Directory(services.terms)
    try:
        for name, executions, percent, age_days in CUSTOMERS:
            began = now - timedelta(days=age_days)
            organization_id = await create_organization(
                services.database,
                OperatorActor(),
                name=name,
                executions=executions,
                now=began,
            )
            asks = _asks(organization_id, executions * percent // 100, began, now)
            for at, batch in asks:
                await store.transact(connection, directory, batch, at=at)
            await _help(services, staff, name, organization_id, now)
    finally:
        await connection.close(timeout=1)


def _asks(
    organization_id: str, used: int, began: datetime, now: datetime
) -> Iterator[tuple[datetime, list[Ask]]]:
    """So many executions in a few steps; where all are used, one more that is refused."""
    step = (now - began) / (CHUNKS + 1)
    each = used // (CHUNKS * len(WORKFLOWS))
    rest = used - each * CHUNKS * len(WORKFLOWS)
    for chunk in range(CHUNKS if used else 0):
        more = rest if chunk == 0 else 0
        at = began + step * (chunk + 1)
        yield (
            at,
            [
                _ask(
                    organization_id,
                    each + (more if workflow == WORKFLOWS[0] else 0),
                    workflow,
                    chunk,
                )
                for workflow in WORKFLOWS
            ],
        )
    if used:
        yield now - timedelta(hours=2), [_ask(organization_id, 900, WORKFLOWS[1], CHUNKS)]


def _ask(organization_id: str, executions: int, workflow: str, chunk: int) -> Ask:
    return Ask(
        mode=Mode.CONSUME,
        organization_id=organization_id,
        user_id="",
        executions=max(1, executions),
        workflow=workflow,
        hold_seconds=DEFAULT_HOLD_SECONDS,
        idempotency_key=f"demo-{chunk}-{workflow}",
        caller=Caller(api_key_id=None, organization_id=None),
    )


async def _help(
    services: Services, staff: StaffActor, name: str, organization_id: str, now: datetime
) -> None:
    if name not in HELPED and name != BLOCKED:
        return
    query = (
        select(Account)
        .where(Account.organization_id == organization_id)
        .where(col(Account.kind) == AccountKind.ORGANIZATION)
    )
    async with services.database.reading() as session:
        account = (await session.exec(query)).one()
    account_id = ids.encode_account(account.id)
    at = now - timedelta(hours=1)
    if name == BLOCKED:
        reason = "Their bank disputes a charge; they are told"
        await block_account(services.database, staff, account_id, reason=reason, now=at)
        return
    executions, reason = HELPED[name]
    await grant_executions(
        services.database, staff, account_id, executions=executions, reason=reason, now=at
    )
