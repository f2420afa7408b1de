"""Staff repair accounts while other processes consume from them."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from billing_app.billing.errors import ConflictError
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.adjustments import ADJUST, Adjustment
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.grants import GRANT, Grant
from billing_app.billing.staff.repairs.refunds import REFUND_RANGE, Range
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.billing.staff.repairs.stops import BLOCK, PAUSE
from billing_app.composition import build_services
from billing_app.db.enums import StaffRole
from billing_app.settings import Settings
from tests.factories import connect, organization, public_organization, staff_member
from tests.staff.staff_services import WHY, Customer

PROCESSES = 2
ROUNDS = 150
Do = Callable[[], Awaitable[EntryView]]


async def test_no_deadlock_and_every_execution_counted(
    own_database_url: str, settings: Settings
) -> None:
    url = own_database_url
    public_organization(url)
    services = build_services(settings, url)
    customers = [Customer(services, organization(url, 2_000, 3_000)) for _ in range(3)]
    processes = [_start(url, customers, number) for number in range(PROCESSES)]
    for process in processes:
        assert await asyncio.to_thread(_line, process) == "ready\n"
    for process in processes:
        _tell(process, "go")
    reading = [asyncio.to_thread(_line, process) for process in processes]
    outputs = asyncio.gather(*reading)
    done = await asyncio.gather(*[_repair_until(customer, outputs) for customer in customers])
    results = [json.loads(line) for line in await outputs]
    for process in processes:
        await asyncio.to_thread(process.communicate, timeout=20)

    codes = Counter(result["code"] for output in results for result in output["results"])
    assert set(codes) <= {"", "plan_paused", "account_blocked", "insufficient_executions"}
    assert codes[""] > 0
    assert _number(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = %s") == 0
    assert _number(url, "SELECT count(*) FROM audit_entries WHERE %s <> ''") == sum(done)
    assert all(done)
    await customers[0].agrees()
    await services.close()


async def _repair_until(customer: Customer, outputs: "asyncio.Future[Any]") -> int:
    """All repairs again and again, each undone, until the others have consumed; how many entries.

    A repair may be refused for what the others did meanwhile; never for want of a lock.
    """
    services, done = customer.services, 0
    billing = staff_member(services.database.url, StaffRole.BILLING)
    while not outputs.done():
        for do in _repairs(customer, billing):
            try:
                entry = await do()
                done += 1
                await customer.undo(billing, entry)
                done += 1
            except ConflictError:
                continue
    return done


def _repairs(customer: Customer, billing: Any) -> list[Do]:
    services, now = customer.services, datetime.now(UTC)
    about: dict[str, Any] = {"reason": WHY, "now": now}
    found = Range("", now - timedelta(milliseconds=40), now + timedelta(days=1))
    return [
        lambda: carry_out(
            services.repairs,
            billing,
            GRANT,
            customer.id,
            Grant(executions=5, ends_at=now + timedelta(days=1)),
            **about,
        ),
        lambda: carry_out(
            services.repairs,
            billing,
            ADJUST,
            customer.plan_id(1),
            Adjustment(executions=-3),
            **about,
        ),
        lambda: carry_out(
            services.repairs,
            billing,
            ADJUST,
            customer.plan_id(2),
            Adjustment(executions=3),
            **about,
        ),
        lambda: carry_out(services.repairs, billing, REFUND_RANGE, customer.id, found, **about),
        lambda: carry_out(
            services.repairs, billing, PAUSE, customer.plan_id(1), NoFields(), **about
        ),
        lambda: carry_out(services.repairs, billing, BLOCK, customer.id, NoFields(), **about),
    ]


def _start(url: str, customers: list[Customer], process: int) -> "subprocess.Popen[str]":
    groups = [
        [
            {
                "organization_id": customer.holder.organization_id,
                "user_id": "",
                "key": f"{process}-{number}",
                "executions": number % 3 + 1,
            }
            for customer in customers
        ]
        for number in range(ROUNDS)
    ]
    job = {
        "url": url,
        "warm": customers[0].holder.organization_id,
        "groups": groups,
        "at_once": 2,
    }
    command = [sys.executable, "-m", "tests.billing.consumer_process"]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    _tell(started, json.dumps(job))
    return started


def _tell(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _number(url: str, query: str) -> int:
    with connect(url) as connection:
        row = connection.execute(query, [connection.info.dbname]).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert row is not None
    return int(row[0])
