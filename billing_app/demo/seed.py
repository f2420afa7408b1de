"""The demo's data: two people, an organization with months of history, and a key.

Created once, by the same rules as everything else: the history is decided hour by hour in the past.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlmodel import col, select

from billing_app.billing.accounts.service import add_member, create_organization
from billing_app.billing.actors import OperatorActor, StaffActor
from billing_app.billing.alerts.rules import Rule
from billing_app.billing.errors import EmailTakenError
from billing_app.billing.executions import store
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.requests import CheckRequest
from billing_app.billing.identity import sessions
from billing_app.billing.identity.api_keys import create_key
from billing_app.billing.identity.password_hashing import hash_password
from billing_app.billing.offers.catalogue import (
    OfferTakenError,
    OfferTerms,
    OverageTerms,
    publish_offer,
)
from billing_app.billing.plans.inserting import insert_plan
from billing_app.billing.staff.access import members
from billing_app.billing.staff.catalogue.alert_defaults import set_default_rules
from billing_app.composition import Services
from billing_app.db.enums import (
    AccountKind,
    AlertKind,
    Interval,
    PlanSource,
    PlanType,
    Role,
    Scope,
    StaffRole,
)
from billing_app.db.tables import Account, Organization, Plan, User
from billing_app.db.urls import for_asyncpg
from billing_app.demo.customers import consume, seed_customers
from billing_app.settings import DEMO_KEY_FILE, SettingsError

PASSWORD: Final = "correct horse battery"  # noqa: S105 - the demo prints it
TRIAL_EMAIL: Final = "ada@example.com"
OWNER_EMAIL: Final = "owner@northwind.example"
OWNER_ID: Final = "usr_demo_owner"
STAFF_EMAIL: Final = "staff@billing.example"
STAFF_ID: Final = "usr_demo_staff"
STAFF_NAME: Final = "Margaret Hamilton"
ORGANIZATION_NAME: Final = "Northwind"
HISTORY_DAYS: Final = 96
FIRST_CONTRACT_DAYS: Final = 50
TRIAL_DAYS: Final = 12
WORKFLOWS: Final = (
    ("invoice-extraction", 0.42),
    ("support-triage", 0.27),
    ("nightly-report", 0.17),
    ("lead-enrichment", 0.14),
)
OFFERS: Final = {
    "starter": OfferTerms("Starter", "For one product", 5_000, 1_900, "USD", Interval.MONTH),
    "growth": OfferTerms("Growth", "For a team", 30_000, 7_900, "USD", Interval.MONTH),
    "scale": OfferTerms(
        "Scale",
        "For a company",
        150_000,
        29_900,
        "USD",
        Interval.MONTH,
        overage=OverageTerms(unit_price_minor=25, unit_executions=100, limit_executions=100_000),
    ),
    "growth-yearly": OfferTerms(
        "Growth, yearly", "Two months free", 360_000, 79_000, "USD", Interval.YEAR
    ),
    "pack-10k": OfferTerms("Extra pack", "They never expire", 10_000, 2_900, "USD", Interval.ONCE),
}
PEOPLE: Final = ("mira", "jonas", "aiko", "tomas")
BACKFILLS_FROM: Final = 50.0
BACKFILL_SHARE: Final = 0.02
HOURS: Final = (7, 9, 10, 12, 14, 15, 17, 21)
ALERT_RULES: Final = (
    Rule(AlertKind.REMAINING_SHARE, 20),
    Rule(AlertKind.REMAINING_NUMBER, 0),
    Rule(AlertKind.PAYMENT_FAILED),
    Rule(AlertKind.CARD_EXPIRING, 30),
    Rule(AlertKind.EXECUTION_REFUSED),
)


@dataclass(frozen=True, slots=True)
class Demo:
    """What the terminal shows."""

    organization_id: str
    key: str
    sign_ins: tuple[tuple[str, str], ...]


async def seed_demo(services: Services, now: datetime, *, with_payments: bool = False) -> Demo:
    """Create the demo data unless it exists. Raises SettingsError on a database in real use.

    `with_payments`: some customers have paid for months, at the running Stripe sandbox.
    """
    async with services.database.reading() as session:
        owner = await session.get(User, OWNER_ID)
    if owner is None:
        await _refuse_other_people(services)
        await _seed_offers(services, now)
        await _seed_trial(services, now)
        await _seed_organization(services, now)
    await _seed_staff(services, now)
    if owner is None:
        staff = StaffActor(STAFF_ID, STAFF_NAME, StaffRole.ADMIN)
        await seed_customers(services, staff, now, with_payments=with_payments)
        reason = "What every customer should hear"
        await set_default_rules(services.database, staff, None, ALERT_RULES, reason, now)
    return Demo(
        organization_id=await _organization_id(services),
        key=await _key(services, now),
        sign_ins=(
            (TRIAL_EMAIL, "a user on the trial plan"),
            (OWNER_EMAIL, f"the owner of {ORGANIZATION_NAME}, on paid plans"),
            (STAFF_EMAIL, "an admin of the billing staff"),
        ),
    )


async def _refuse_other_people(services: Services) -> None:
    """The demo's password is public, and one of its people is an admin."""
    query = (
        select(User.id)
        .where(col(User.password_hash).is_not(None))
        .where(col(User.email).not_in((TRIAL_EMAIL, OWNER_EMAIL, STAFF_EMAIL)))
        .limit(1)
    )
    async with services.database.reading() as session:
        if (await session.exec(query)).first() is not None:
            raise SettingsError(
                ["DATABASE_URL: people use this database already. Give the demo its own database."]
            )


async def _seed_offers(services: Services, now: datetime) -> None:
    for place, (code, terms) in enumerate(OFFERS.items(), 1):
        try:
            await publish_offer(
                services.database,
                OperatorActor(),
                code=code,
                terms=terms,
                now=now,
                position=place,
            )
        except OfferTakenError:
            continue


async def _seed_trial(services: Services, now: datetime) -> None:
    try:
        user_id = await sessions.sign_up(
            services.database,
            email=TRIAL_EMAIL,
            password=PASSWORD,
            name="Ada Lovelace",
            terms=services.terms,
            now=now - timedelta(days=TRIAL_DAYS),
        )
    except EmailTakenError:
        return
    public = services.terms.public_organization_id
    generator = random.Random(1815)  # noqa: S311
    await _make_history(
        services, _requests(generator, public, user_id, now, days=TRIAL_DAYS, per_hour=7.0)
    )


async def _seed_staff(services: Services, now: datetime) -> None:
    async with services.database.reading() as session:
        if await session.get(User, STAFF_ID) is not None:
            return
    person = await _person(STAFF_ID, STAFF_NAME, STAFF_EMAIL, now)
    async with services.database.transaction() as session:
        session.add(person)
    await members.add_member(
        services.database,
        OperatorActor(),
        email=STAFF_EMAIL,
        role=StaffRole.ADMIN,
        reason="Admin of the demo",
        now=now,
    )


async def _seed_organization(services: Services, now: datetime) -> None:
    began = now - timedelta(days=HISTORY_DAYS)
    organization_id = await create_organization(
        services.database,
        OperatorActor(),
        name=ORGANIZATION_NAME,
        executions=22_000,
        now=began,
    )
    await _queue_plans(services, organization_id, began)
    generator = random.Random(1912)  # noqa: S311
    await _make_history(
        services, _requests(generator, organization_id, "", now, days=HISTORY_DAYS, per_hour=110.0)
    )
    await _make_owner(services, organization_id, began)


async def _queue_plans(services: Services, organization_id: str, began: datetime) -> None:
    plans = (
        (2, "Contract, autumn", PlanSource.CONTRACT, 30_000, 62),
        (3, "Contract, winter", PlanSource.CONTRACT, 60_000, HISTORY_DAYS + 21),
        (4, "Extra executions", PlanSource.STAFF_GRANT, 10_000, None),
    )
    query = (
        select(Account)
        .where(Account.organization_id == organization_id)
        .where(Account.kind == AccountKind.ORGANIZATION)
    )
    async with services.database.transaction() as session:
        account = (await session.exec(query)).one()
        first = await session.get_one(Plan, (account.id, 1))
        first.ends_at = began + timedelta(days=FIRST_CONTRACT_DAYS)
        for sequence, name, source, executions, ends_after_days in plans:
            plan = Plan(
                account_id=account.id,
                sequence=sequence,
                type=PlanType.PAID,
                name=name,
                source=source,
                executions=executions,
                starts_at=began,
                ends_at=began + timedelta(days=ends_after_days) if ends_after_days else None,
                created_at=began,
            )
            await insert_plan(session, plan)


async def _make_owner(services: Services, organization_id: str, now: datetime) -> None:
    owner = await _person(OWNER_ID, "Grace Hopper", OWNER_EMAIL, now)
    async with services.database.transaction() as session:
        session.add(owner)
        await session.flush()
        await add_member(
            session, organization_id=organization_id, user=owner, role=Role.OWNER, now=now
        )


async def _person(user_id: str, name: str, email: str, now: datetime) -> User:
    password_hash = await hash_password(PASSWORD)
    return User(
        id=user_id,
        name=name,
        email=email,
        password_hash=password_hash,
        email_confirmed_at=now,
        created_at=now,
    )


def _requests(
    generator: random.Random,
    organization_id: str,
    user_id: str,
    now: datetime,
    *,
    days: int,
    per_hour: float,
) -> Iterator[tuple[datetime, list[CheckRequest]]]:
    """Batches of consume requests, hour by hour: fewer at weekends, more each week."""
    names = [name for name, _ in WORKFLOWS]
    weights = [weight for _, weight in WORKFLOWS]
    for day in range(days, -1, -1):
        for hour in HOURS:
            at = (now - timedelta(days=day)).replace(
                hour=hour, minute=generator.randrange(60), second=generator.randrange(60)
            )
            if at >= now:
                continue
            busy = 0.35 if at.weekday() >= 5 else 1.0
            mean = per_hour * busy * (1.15 - day / days * 0.4) * generator.uniform(0.7, 1.3)
            requests = [
                consume(
                    organization_id,
                    user_id or generator.choice(PEOPLE),
                    executions,
                    workflow,
                    key=f"demo-{at:%Y%m%d%H}-{workflow}",
                )
                for workflow, executions in _shares(generator, names, weights, max(1, round(mean)))
            ]
            if per_hour > BACKFILLS_FROM and generator.random() < BACKFILL_SHARE:
                # More at once than all of their plans have together: refused.
                requests += [
                    consume(
                        organization_id,
                        PEOPLE[0],
                        250_000,
                        "backfill",
                        key=f"demo-{at:%Y%m%d%H}-backfill-{attempt}",
                    )
                    for attempt in range(2)
                ]
            yield at, requests


def _shares(
    generator: random.Random, names: list[str], weights: list[float], total: int
) -> list[tuple[str, int]]:
    counts = dict.fromkeys(names, 0)
    for name in generator.choices(names, weights, k=total):
        counts[name] += 1
    return [(name, count) for name, count in counts.items() if count]


async def _make_history(
    services: Services, batches: Iterator[tuple[datetime, list[CheckRequest]]]
) -> None:
    directory = Directory(services.terms)
    connection = await store.connect(for_asyncpg(services.database.url))
    try:
        for at, requests in batches:
            await store.transact(connection, directory, requests, at=at)
    finally:
        await connection.close(timeout=1)


async def _organization_id(services: Services) -> str:
    query = select(Organization.id).where(Organization.name == ORGANIZATION_NAME)
    async with services.database.reading() as session:
        return (await session.exec(query.order_by(Organization.id))).first() or ""


async def _key(services: Services, now: datetime) -> str:
    """The key of an earlier start if it still works, else a new one."""
    file = services.settings.data_directory / DEMO_KEY_FILE
    secret = _read(file)
    if secret and await services.keys.find(secret, now) is not None:
        return secret
    key = await create_key(
        services.database,
        OperatorActor(),
        name="Demo",
        scopes=frozenset({Scope.EXECUTIONS, Scope.PLANS_READ}),
        organization_id=None,
        now=now,
    )
    _write(file, key.secret)
    return key.secret


def _read(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""


def _write(file: Path, secret: str) -> None:
    """Only the owner of the file can read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(secret)
