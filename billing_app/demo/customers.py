"""More customers of the demo, to fill the staff console: organizations and people on trials, near
and far from their limits, some of them paying, and what staff did for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

import httpx
from sqlmodel import col, select

from billing_app.billing import ids
from billing_app.billing.accounts.service import create_organization
from billing_app.billing.actors import OperatorActor, StaffActor
from billing_app.billing.executions import store
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.driver import Connection
from billing_app.billing.executions.requests import DEFAULT_HOLD_SECONDS, Caller, CheckRequest, Mode
from billing_app.billing.identity.sessions import give_trial
from billing_app.billing.staff.operations.metrics_rollup import look_for_limits, roll_up_again
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.grants import GRANT, Grant
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.billing.staff.repairs.stops import BLOCK
from billing_app.composition import Services
from billing_app.db.enums import AccountKind
from billing_app.db.tables import Account, User
from billing_app.db.urls import for_asyncpg
from billing_app.demo.market import (
    BUSINESSES,
    SLOTS,
    Business,
    Trial,
    Use,
    trials,
    use_of_business,
    use_of_trial,
)
from billing_app.demo.payments import Payer, PaymentHistory, sandbox_client

BLOCKED: Final = "Harbor Legal"
BLOCKED_DAYS: Final = 2
HELPED: Final = {
    "Café Lumière": (1_000, "A webhook loop on our side used up their executions"),
    "Greenhouse Labs": (2_500, "To bridge the days until their new contract"),
    "Éclair Robotics": (500, "The nightly report failed twice on our side"),
}
PAYERS: Final = (
    Payer("Marlin Software", "scale", 72),
    Payer("Nimbus Retail", "growth", 64, fails=True),
    Payer("Oakridge Clinics", "growth", 47),
    Payer("Pinecrest Media", "starter", 36, cancels=True),
)
# Which trial users, oldest first, buy which offer, and after how many days.
CONVERTING: Final = (
    (2, "starter", 9),
    (6, "growth", 12),
    (9, "starter", 5),
    (14, "starter", 7),
    (19, "growth", 4),
    (23, "starter", 6),
    (27, "growth", 3),
    (31, "starter", 3),
    (35, "starter", 2),
)
FAILING_TRIALS: Final = frozenset({6})
BUYERS: Final = (
    Business("Marlin Software", 1_500, 0, 76, people=("ana", "ravi", "tove"), workflows=4),
    Business("Nimbus Retail", 1_000, 0, 66, weekend=1.1, people=("kim", "lou")),
    Business("Oakridge Clinics", 1_000, 0, 48, weekend=0.5),
    Business("Pinecrest Media", 500, 0, 39, weekend=0.2, workflows=2),
)
# Executions that buyers use in all, when there is a provider to pay.
WANTED: Final = {
    "Marlin Software": 318_000,
    "Nimbus Retail": 61_000,
    "Oakridge Clinics": 43_000,
    "Pinecrest Media": 7_200,
}
OFFER_SIZES: Final = {"starter": 5_000, "growth": 30_000}
# Who is refused keeps asking, for one execution more each time.
RETRIES: Final = 3


@dataclass(slots=True)
class Customer:
    """A customer with an account, their use by day, and their payments."""

    name: str
    began: datetime
    uses: dict[date, list[Use]]
    organization_id: str
    user_id: str = ""
    account_number: int = 0
    left: int = 0
    pays_from: datetime | None = None
    payments: PaymentHistory | None = None
    business: Business | None = None


async def seed_customers(
    services: Services, staff: StaffActor, now: datetime, *, with_payments: bool
) -> None:
    """Day by day, in a few hundred small transactions; takes a few seconds."""
    sandbox = sandbox_client(services) if with_payments else None
    connection = await store.connect(for_asyncpg(services.database.url))
    history = _History(services, staff, connection, sandbox, now, Directory(services.terms))
    try:
        await history.run()
    finally:
        await connection.close(timeout=1)
        if sandbox is not None:
            await sandbox.aclose()
    await roll_up_again(services.database, now)
    await look_for_limits(services.database, now)


@dataclass
class _History:
    services: Services
    staff: StaffActor
    connection: Connection
    sandbox: httpx.AsyncClient | None
    now: datetime
    directory: Directory

    async def run(self) -> None:
        customers = [*self._businesses(), *self._trials()]
        waiting = sorted(customers, key=lambda each: each.began)
        alive: list[Customer] = []
        first = waiting[0].began.date()
        for number in range((self.now.date() - first).days + 1):
            day = first + timedelta(days=number)
            while waiting and waiting[0].began.date() <= day:
                alive.append(await self._open_account(waiting.pop(0)))
            await self._day(day, alive)
        for customer in alive:
            if customer.payments is not None:
                await customer.payments.go_on(self.now)
                await customer.payments.release()

    def _businesses(self) -> Iterator[Customer]:
        last = self.now.date()
        payers = {payer.name: payer for payer in PAYERS}
        for business in (*BUSINESSES, *BUYERS):
            payer = payers.get(business.name) if self.sandbox else None
            total = business.executions * (business.percent or 0) // 100
            if payer is not None:
                total = WANTED[business.name]
            elif business in BUYERS:
                total = business.executions * 9 // 10
            customer = Customer(
                name=business.name,
                began=self.now - timedelta(days=business.age_days, hours=1),
                uses=use_of_business(business, total, last),
                organization_id="",
                left=business.executions,
                business=business,
            )
            self._let_pay(customer, payer)
            yield customer

    def _trials(self) -> Iterator[Customer]:
        buys = {place: (offer, days) for place, offer, days in CONVERTING}
        for place, trial in enumerate(sorted(trials(), key=lambda each: -each.age_days)):
            offer, days = buys.get(place, ("", 0))
            converts = bool(offer) and self.sandbox is not None and trial.age_days > days
            yield self._trial(trial, offer if converts else "", days, fails=place in FAILING_TRIALS)

    def _trial(self, trial: Trial, offer: str, days: int, *, fails: bool) -> Customer:
        executions = self.services.terms.executions
        total = executions * trial.percent // 100
        if offer:
            total = executions + OFFER_SIZES[offer] * (trial.age_days - days) // 42
            trial = Trial(trial.number, trial.name, trial.age_days, trial.percent, trial.age_days)
        customer = Customer(
            name=trial.name,
            began=self.now - timedelta(days=trial.age_days, hours=2 + trial.number % 5),
            uses=use_of_trial(trial, total, self.now.date()),
            organization_id=self.services.terms.public_organization_id,
            user_id=trial.user_id,
            left=executions,
        )
        ago = trial.age_days - days
        self._let_pay(customer, Payer(trial.name, offer, ago, fails=fails) if offer else None)
        return customer

    def _let_pay(self, customer: Customer, payer: Payer | None) -> None:
        if payer is None or self.sandbox is None:
            return
        customer.pays_from = self.now - timedelta(days=payer.days_ago)
        customer.payments = PaymentHistory(self.services, self.sandbox, payer, self.now)

    async def _open_account(self, customer: Customer) -> Customer:
        if customer.business is None:
            await self._open_trial(customer)
        else:
            customer.organization_id = await create_organization(
                self.services.database,
                OperatorActor(),
                name=customer.name,
                executions=customer.business.executions,
                now=customer.began,
            )
        customer.account_number = await self._account_number(customer)
        return customer

    async def _open_trial(self, customer: Customer) -> None:
        """Named by a service: without a password, nobody can sign in as them."""
        user = User(id=customer.user_id, name=customer.name, created_at=customer.began)
        async with self.services.database.transaction() as session:
            session.add(user)
            await session.flush()
            await give_trial(session, user, self.services.terms, customer.began)

    async def _account_number(self, customer: Customer) -> int:
        query = select(Account.id)
        if customer.user_id:
            query = query.where(col(Account.user_id) == customer.user_id)
        else:
            query = query.where(Account.organization_id == customer.organization_id)
            query = query.where(col(Account.kind) == AccountKind.ORGANIZATION)
        async with self.services.database.reading() as session:
            return (await session.exec(query)).one()

    async def _day(self, day: date, alive: list[Customer]) -> None:
        for customer in alive:
            await self._pay(customer, day)
            await self._help(customer, day)
        for slot, (hour, _) in enumerate(SLOTS):
            at = datetime.combine(day, time(hour, 17), self.now.tzinfo)
            requests = [
                request
                for customer in alive
                if customer.began < at < self.now
                for request in _requests(customer, day, slot)
            ]
            if requests:
                decisions = await store.transact(self.connection, self.directory, requests, at=at)
                assert len(decisions) == len(requests)

    async def _pay(self, customer: Customer, day: date) -> None:
        if customer.payments is None or customer.pays_from is None:
            return
        if customer.pays_from.date() == day:
            await customer.payments.begin(
                customer.account_number, customer.name, customer.pays_from
            )
        elif customer.pays_from.date() < day < self.now.date():
            at = datetime.combine(day, time(6), self.now.tzinfo)
            await customer.payments.renew(at)

    async def _help(self, customer: Customer, day: date) -> None:
        account_id = ids.encode_account(customer.account_number)
        if customer.name == BLOCKED and day == (self.now - timedelta(days=BLOCKED_DAYS)).date():
            reason = "Their bank disputed a charge; they have been informed"
            at = self.now - timedelta(days=BLOCKED_DAYS)
            await carry_out(
                self.services.repairs,
                self.staff,
                BLOCK,
                account_id,
                NoFields(),
                reason=reason,
                now=at,
            )
        elif customer.name in HELPED and day == self.now.date():
            executions, reason = HELPED[customer.name]
            at = self.now - timedelta(hours=1)
            await carry_out(
                self.services.repairs,
                self.staff,
                GRANT,
                account_id,
                Grant(executions=executions),
                reason=reason,
                now=at,
            )


def _requests(customer: Customer, day: date, slot: int) -> Iterator[CheckRequest]:
    """Their requests in a slot; beyond what they have, a few that are refused."""
    for use in customer.uses.get(day, []):
        if use.slot != slot:
            continue
        key = f"demo-{day:%Y%m%d}-{slot}-{use.workflow}"
        if customer.payments is not None or use.executions <= customer.left:
            customer.left -= use.executions
            yield _request(customer, use, use.executions, key)
            continue
        for attempt in range(RETRIES):
            yield _request(customer, use, customer.left + 1 + attempt, f"{key}-{attempt}")


def _request(customer: Customer, use: Use, executions: int, key: str) -> CheckRequest:
    user_id = customer.user_id or use.user_id
    return consume(customer.organization_id, user_id, executions, use.workflow, key=key)


def consume(
    organization_id: str, user_id: str, executions: int, workflow: str, *, key: str
) -> CheckRequest:
    return CheckRequest(
        mode=Mode.CONSUME,
        organization_id=organization_id,
        user_id=user_id,
        executions=executions,
        workflow=workflow,
        hold_seconds=DEFAULT_HOLD_SECONDS,
        idempotency_key=key,
        caller=Caller(api_key_id=None, organization_id=None),
    )
