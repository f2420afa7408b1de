"""What services poll is answered in front of FastAPI: same answers, same refusals, and never late
for decisions."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import httpx
import msgspec
import psycopg
import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st
from starlette import types
from starlette.responses import Response

from billing_app.api import read_turns
from billing_app.api.plans import encode_current
from billing_app.api.polled_reads import PolledReads
from billing_app.api.read_turns import ReadTurns
from billing_app.api.usage import encode_usage
from billing_app.billing.actors import OperatorActor
from billing_app.billing.errors import DeniedError
from billing_app.billing.executions.state import EPOCH, MICROSECOND
from billing_app.billing.identity import api_keys
from billing_app.billing.subscriptions.account_summary import read_summary
from billing_app.billing.usage.kept_days import days_kept_from
from billing_app.billing.usage.service import Days, GroupBy
from billing_app.composition import Services
from billing_app.db.enums import Scope
from billing_app.routes import CURRENT_PLAN, USAGE_TOTALS
from tests.api.contract.requests import ask, done, of
from tests.factories import Holder, api_key, connect, organization

PASSED_ON: Final = 418
HOUR: Final = timedelta(hours=1)
SLOW: Final = {"unknown": "1"}
Connection = psycopg.Connection[tuple[Any, ...]]

OFFER: Final = """
WITH made AS (
    INSERT INTO offers (code, position, visible, published_revision, created_at)
    VALUES (gen_random_uuid()::text, 1, false, 1, now()) RETURNING id)
INSERT INTO offer_versions (offer_id, version, name, description, executions, price_minor, currency,
    interval, trial_days, overage, overage_unit_price_minor, overage_unit_executions,
    overage_limit_executions, priority, created_at)
SELECT id, 1, 'Beyond', '', 10, 100, 'EUR', 'month', 0, 'soft', 3, 10, 1000, 100, now() FROM made
RETURNING id
"""


async def passed_on(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
    await Response(status_code=PASSED_ON)(scope, receive, send)


hours = st.integers(-30, 30).filter(bool)
maybe_hours = st.none() | hours


@st.composite
def drawn_plans(draw: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """Columns of some plans; times are hours from now."""
    rows: list[dict[str, Any]] = []
    for sequence in range(1, draw(st.integers(0, 4)) + 1):
        executions = draw(st.integers(1, 9))
        used = draw(st.integers(0, executions))
        held = draw(st.integers(0, executions - used))
        starts = draw(hours)
        source = draw(st.sampled_from(["contract", "subscription", "bridge", "overage", "pack"]))
        ended = draw(st.none() | st.integers(-10, -1))
        rows.append(
            {
                "sequence": sequence,
                "type": "paid",
                "name": f"Plan {sequence}",
                "source": source,
                "priority": 1000 if source == "overage" else draw(st.sampled_from([100, 200])),
                "executions": executions,
                "used": used,
                "held": held,
                "expired": draw(st.integers(0, held)),
                "starts_at": starts,
                "ends_at": starts + draw(st.integers(1, 40)) if draw(st.booleans()) else None,
                "began_at": draw(st.none() | st.integers(-30, -1)),
                "suspended_at": draw(maybe_hours),
                "paused_at": draw(st.none() | st.integers(-5, -1)),
                "ended_at": ended,
                "ended_because": None if ended is None else "depleted",
            }
        )
    return rows


subscriptions = st.none() | st.fixed_dictionaries(
    {
        "status": st.sampled_from(["active", "trialing", "past_due", "paused", "canceled"]),
        "period_end": hours,
        "cancel_at": maybe_hours,
        "trial_refused_at": st.none() | st.just(-1),
        "past_due_since": st.none() | st.just(-1),
        "quantity": st.integers(1, 3),
        "next_offer_version_id": st.booleans(),
        "is_duplicate": st.just(value=False) | st.booleans(),
    }
)


profiles = st.none() | st.fixed_dictionaries({"refills_at": hours, "is_closed": st.booleans()})


def begin_free(url: str, holder: Holder, drawn: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    with connect(url) as connection:
        refills_at = now + drawn["refills_at"] * HOUR
        values = {
            "account_id": holder.account_number,
            "offer_version_id": version_of_offer(connection),
            "offer_since": refills_at - relativedelta(months=1),
            "refills_at": refills_at,
            "closed_at": now if drawn["is_closed"] else None,
        }
        insert(connection, "account_profiles", values)


def block(url: str, holder: Holder) -> None:
    with connect(url) as connection:
        for query in (
            "UPDATE accounts SET blocked_at = now() WHERE id = %s",
            "UPDATE plans SET blocked_at = now() WHERE account_id = %s",
        ):
            connection.execute(query, [holder.account_number])  # pyright: ignore[reportArgumentType, reportCallIssue]


def version_of_offer(connection: Connection) -> int:
    row = connection.execute(OFFER).fetchone()
    assert row is not None
    return row[0]


def subscribe(url: str, holder: Holder, drawn: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    with connect(url) as connection:
        version = version_of_offer(connection)
        values = drawn | {
            "account_id": holder.account_number,
            "number": 1,
            "provider_id": f"sub_{holder.account_number}",
            "offer_version_id": version,
            "next_offer_version_id": version if drawn["next_offer_version_id"] else None,
            "period_start": now - 100 * HOUR,
            "period_end": now + drawn["period_end"] * HOUR,
            "past_due_since": now - HOUR if drawn["past_due_since"] else None,
            "trial_refused_at": now - HOUR if drawn["trial_refused_at"] else None,
            "cancel_at": now + drawn["cancel_at"] * HOUR if drawn["cancel_at"] else None,
            "cancel_at_period_end": drawn["cancel_at"] is not None,
            "synced_at": now,
            "created_at": now,
        }
        insert(connection, "subscriptions", values)


def insert(connection: Connection, table: str, values: dict[str, Any]) -> None:
    marks = ", ".join(["%s"] * len(values))
    connection.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})",  # noqa: S608  # pyright: ignore[reportArgumentType, reportCallIssue]
        list(values.values()),
    )


def write(url: str, holder: Holder, rows: list[dict[str, Any]], limit: int | None) -> None:
    now = datetime.now(UTC)
    with connect(url) as connection:
        version = version_of_offer(connection)
        for row in rows:
            values = {
                name: now + value * HOUR if name.endswith("_at") and value is not None else value
                for name, value in row.items()
                if name != "expired"
            }
            values |= {"account_id": holder.account_number, "created_at": now - 40 * HOUR}
            values["offer_version_id"] = version if row["source"] == "overage" else None
            insert(connection, "plans", values)
            if row["expired"]:
                hold(url, holder, row["sequence"], row["expired"], now - HOUR)
        if limit is not None:
            connection.execute(
                "INSERT INTO overage_limits (account_id, limit_minor, currency, updated_at)"
                " VALUES (%s, %s, 'EUR', now())",
                [holder.account_number, limit],
            )


def hold(url: str, holder: Holder, sequence: int, executions: int, expires_at: datetime) -> None:
    number = (expires_at - EPOCH) // MICROSECOND + sequence
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO reservations (account_id, number, status, executions, workflow, user_id,"
            " idempotency_key, expires_at, created_at)"
            " VALUES (%s, %s, 'held', %s, '', '', %s, %s, %s)",
            [
                holder.account_number,
                number,
                executions,
                f"k{sequence}",
                expires_at,
                expires_at - HOUR,
            ],
        )
        connection.execute(
            "INSERT INTO reservation_holds (account_id, reservation_number, plan_sequence,"
            " executions) VALUES (%s, %s, %s, %s)",
            [holder.account_number, number, sequence, executions],
        )


@pytest.fixture
async def polled(
    services: Services, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> httpx.AsyncClient:
    """A caller whose key stays cached, in front of an app that answers 418."""
    monkeypatch.setattr(api_keys, "CACHE_SECONDS", 600.0)
    key = api_key(database_url, Scope.PLANS_READ)
    await services.keys.authenticate(key, datetime.now(UTC))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(PolledReads(passed_on, lambda: services)),
        base_url="http://billing",
        headers={"Authorization": f"Bearer {key}"},
    )


@given(
    rows=drawn_plans(),
    limit=st.none() | st.integers(0, 400),
    subscription=subscriptions,
    profile=profiles,
    is_blocked=st.integers(0, 5).map(lambda each: each == 0),
)
async def test_current_plan_is_the_one_that_pages_read(
    services: Services,
    polled: httpx.AsyncClient,
    database_url: str,
    rows: list[dict[str, Any]],
    limit: int | None,
    subscription: dict[str, Any] | None,
    profile: dict[str, Any] | None,
    is_blocked: bool,
) -> None:
    """And what denials say comes next."""
    holder = organization(database_url)
    write(database_url, holder, rows, limit)
    if subscription is not None:
        subscribe(database_url, holder, subscription)
    if profile is not None:
        begin_free(database_url, holder, profile)
    if is_blocked:
        block(database_url, holder)
    summary = await read_summary(
        services.database, OperatorActor(), holder.account_id, datetime.now(UTC)
    )
    expected = encode_current(summary.current, summary.next_executions)
    answer = await polled.get(CURRENT_PLAN, params={"account_id": holder.account_id})
    if expected is None:
        assert answer.status_code == PASSED_ON
    else:
        assert (answer.status_code, answer.content) == (200, expected)
    denied = DeniedError(
        "", remaining=0, requested=1, period_end=None, account_id=holder.account_number
    )
    await services.denial_reads.explain([denied])
    assert denied.extensions["next_executions"] == summary.next_executions


async def test_usage_is_the_one_that_pages_read(
    services: Services, polled: httpx.AsyncClient, database_url: str
) -> None:
    holder = organization(database_url, 100)
    with connect(database_url) as connection:
        for day, workflow, used, refunded in (
            (date(2026, 2, 1), "a", 5, 0),
            (date(2026, 2, 1), "b", 2, 1),
            (date(2026, 2, 3), "", 4, 4),
        ):
            connection.execute(
                "INSERT INTO daily_usage (account_id, day, workflow, user_id, used, refunded)"
                " VALUES (%s, %s, %s, 'ada', %s, %s)",
                [holder.account_number, day, workflow, used, refunded],
            )
        connection.execute(
            "INSERT INTO daily_denials (account_id, day, workflow, user_id, reason, denied)"
            " VALUES (%s, '2026-02-02', 'a', 'ada', 'insufficient_executions', 3)",
            [holder.account_number],
        )
    span = {"account_id": holder.account_id, "from": "2026-02-01", "to": "2026-02-03"}
    expected = {
        "day": {"2026-02-01": (6, 0), "2026-02-02": (0, 3), "2026-02-03": (0, 0)},
        "workflow": {"": (0, 0), "a": (5, 3), "b": (1, 0)},
        "user": {"ada": (6, 3)},
    }
    for group_by, groups in expected.items():
        answer = done(await polled.get(USAGE_TOTALS, params=span | {"group_by": group_by}))
        found = {
            item[group_by]: (item["net"], sum(item["denied"].values())) for item in answer["items"]
        }
        assert found == groups
        assert answer["totals"] == {"used": 11, "refunded": 5, "net": 6, "denied": 3}


@pytest.mark.parametrize(
    ("months", "kept_from"), [(None, None), (13, date(2025, 2, 1)), (24, date(2024, 3, 1))]
)
def test_usage_says_from_which_day_on_it_is_kept(
    months: int | None, kept_from: date | None
) -> None:
    now = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)
    assert days_kept_from(now, months) == kept_from
    days = Days(date(2026, 3, 1), date(2026, 3, 2))
    answer = msgspec.json.decode(encode_usage("acc_1", days, GroupBy.DAY, [], kept_from))
    assert list(answer)[-1] == "kept_from"
    assert answer["kept_from"] == (kept_from and kept_from.isoformat())


@pytest.mark.parametrize("path", [CURRENT_PLAN, USAGE_TOTALS])
def test_both_ways_answer_alike(service: httpx.Client, holder: Holder, path: str) -> None:
    """An unknown parameter goes the way of FastAPI, which leaves it out."""
    done(ask(service, holder, "consume", 3, "k"))
    done(service.get(path, params=of(holder)))
    quick, slow = (service.get(path, params=of(holder) | more) for more in ({}, SLOW))
    assert done(quick) == done(slow)
    kept = ("content-type", "content-length", "cache-control", "x-content-type-options")
    assert [quick.headers[name] for name in kept] == [slow.headers[name] for name in kept]


@pytest.mark.parametrize("path", [CURRENT_PLAN, USAGE_TOTALS])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        SLOW,
        {"account_id": "acc_1"},
        {"account_id": "acc_000000000000abcd"},
        {"account_id": ""},
        {"account_id": "acc_\x00"},
        {"account_id": ["acc_000000000000abcd", "acc_000000000000abcd"]},
        {"organization_id": "org_unknown"},
    ],
)
async def test_what_may_be_refused_is_passed_on(
    polled: httpx.AsyncClient, path: str, asked: dict[str, Any]
) -> None:
    assert (await polled.get(path, params=asked)).status_code == PASSED_ON


@pytest.mark.parametrize(
    "asked",
    [
        {"from": "2026-02-30"},
        {"from": "1"},
        {"from": "2026-02-02", "to": "2026-02-01"},
        {"group_by": "month"},
        {"group_by": "DAY"},
    ],
)
async def test_wrong_days_and_groups_are_passed_on(
    polled: httpx.AsyncClient, database_url: str, asked: dict[str, str]
) -> None:
    named = {"account_id": organization(database_url, 1).account_id}
    assert (await polled.get(USAGE_TOTALS, params=named)).status_code == 200
    assert (await polled.get(USAGE_TOTALS, params=named | asked)).status_code == PASSED_ON


async def test_keys_see_their_own_accounts_only(services: Services, database_url: str) -> None:
    own, other = organization(database_url, 1), organization(database_url, 1)
    key = api_key(database_url, Scope.PLANS_READ, organization_id=own.organization_id)
    unscoped = api_key(database_url, Scope.SUBSCRIPTIONS)
    transport = httpx.ASGITransport(PolledReads(passed_on, lambda: services))
    async with httpx.AsyncClient(transport=transport, base_url="http://billing") as client:
        for secret, holder, status in (
            (key, own, 200),
            (key, other, PASSED_ON),
            (unscoped, own, PASSED_ON),
            ("bil_unknown", own, PASSED_ON),
        ):
            if secret != "bil_unknown":
                await services.keys.authenticate(secret, datetime.now(UTC))
            for path in (CURRENT_PLAN, USAGE_TOTALS):
                answer = await client.get(
                    path,
                    params={"account_id": holder.account_id},
                    headers={"Authorization": f"Bearer {secret}"},
                )
                assert answer.status_code == status


def test_revoked_key_stops_within_seconds(
    anyone: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    secret = api_key(api_database_url, Scope.PLANS_READ)
    headers = {"Authorization": f"Bearer {secret}"}
    done(anyone.get(CURRENT_PLAN, params=of(holder), headers=headers))
    with connect(api_database_url) as connection:
        connection.execute("UPDATE api_keys SET revoked_at = now() WHERE hint = %s", [secret[:12]])
    give_up_at = time.monotonic() + 5
    while anyone.get(CURRENT_PLAN, params=of(holder), headers=headers).status_code == 200:
        assert time.monotonic() < give_up_at
        time.sleep(0.2)


class Gate:
    """An app that counts the requests at work and answers when it is told to."""

    def __init__(self) -> None:
        self.at_work = 0
        self.going_on = asyncio.Event()
        self.has_all = asyncio.Event()
        self.all = 0

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        self.at_work += 1
        if self.at_work == self.all:
            self.has_all.set()
        await self.going_on.wait()
        self.at_work -= 1
        await Response("done")(scope, receive, send)


async def test_few_reads_work_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_turns, "TURN_SECONDS", 60.0)
    gate = Gate()
    transport = httpx.ASGITransport(ReadTurns(gate))
    async with httpx.AsyncClient(transport=transport, base_url="http://billing") as client:
        reads = [asyncio.create_task(client.get(USAGE_TOTALS)) for _ in range(20)]
        await asyncio.sleep(0.1)
        assert gate.at_work == read_turns.AT_WORK
        others = [
            asyncio.create_task(client.request(method, path))
            for method, path in (("POST", "/billing/subscriptions"), ("GET", "/readyz"))
        ]
        await asyncio.sleep(0.1)
        assert gate.at_work == read_turns.AT_WORK + len(others)
        gate.going_on.set()
        assert {(await each).status_code for each in (*reads, *others)} == {200}


async def test_read_that_waits_for_something_else_keeps_nobody_waiting() -> None:
    gate = Gate()
    gate.all = 3 * read_turns.AT_WORK
    transport = httpx.ASGITransport(ReadTurns(gate))
    async with httpx.AsyncClient(transport=transport, base_url="http://billing") as client:
        reads = [asyncio.create_task(client.get(USAGE_TOTALS)) for _ in range(gate.all)]
        async with asyncio.timeout(10):
            await gate.has_all.wait()
        gate.going_on.set()
        assert {(await each).status_code for each in reads} == {200}


async def test_too_many_waiting_reads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_turns, "MAX_WAITING", 3)
    monkeypatch.setattr(read_turns, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(read_turns, "TURN_SECONDS", 60.0)
    gate = Gate()
    transport = httpx.ASGITransport(ReadTurns(gate))
    async with httpx.AsyncClient(transport=transport, base_url="http://billing") as client:
        reads = [
            asyncio.create_task(client.get(USAGE_TOTALS)) for _ in range(read_turns.AT_WORK + 4)
        ]
        await asyncio.sleep(0.1)
        refused = [each.result() for each in reads if each.done()]
        assert [each.status_code for each in refused] == [503]
        assert refused[0].json()["code"] == "overloaded"
        assert refused[0].headers["retry-after"] == "1"
        gate.going_on.set()
        assert [(await each).status_code for each in reads].count(200) == len(reads) - 1
