"""The nightly upkeep of the ledger's months, as its settings say."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing.executions.verification import verify
from billing_app.billing.staff.operations import metrics_rollup
from billing_app.composition import Services, build_services
from billing_app.db import partitions
from billing_app.db.partitions import number_of, start_of_month
from billing_app.jobs import metrics, retention
from billing_app.settings import Settings
from tests.factories import connect
from tests.months import consume_at, months_since, old_customer

MONTHS: dict[str, Any] = {"event_retention_months": 2, "daily_retention_months": 13}
NOW = datetime.now(UTC)
OLD = start_of_month(NOW, -15) + timedelta(days=3)


@pytest.fixture(params=[{}, MONTHS], ids=["kept", "removed"])
async def services(
    own_database_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Services]:
    settings = Settings(trial_plan_executions=1, public_org_id="public", **request.param)
    built = build_services(settings, own_database_url)
    for module in (retention, metrics):
        monkeypatch.setattr(module, "get_services", lambda: built)
    yield built
    await built.close()


def days(url: str, table: str) -> list[date]:
    with connect(url) as connection:
        query: Any = f"SELECT day FROM {table} WHERE used > 0 ORDER BY day"  # noqa: S608
        return [row[0] for row in connection.execute(query).fetchall()]


async def test_months_are_kept_as_set(services: Services) -> None:
    url, is_removed = services.database.url, services.settings.event_retention_months is not None
    months_since(url, OLD)
    holder = old_customer(url)
    await consume_at(url, holder, OLD, ["old"])
    await consume_at(url, holder, NOW - timedelta(days=40), ["young"])
    await metrics_rollup.roll_up_again(services.database, NOW)
    counted = days(url, "platform_days")
    removed = [await retention.remove_old_events(NOW) for _ in range(20)]
    months = [name for name in removed if name]
    assert len(months) == (13 if is_removed else 0)
    if is_removed:
        assert months[0] == partitions.name_of(number_of(start_of_month(OLD)))
    assert await retention.remove_old_days(NOW) == int(is_removed)
    assert OLD.date() in counted
    assert (OLD.date() in days(url, "daily_usage")) != is_removed
    # What the console shows of all accounts stays.
    await metrics.roll_up_again(NOW)
    assert days(url, "platform_days") == counted
    assert await verify(services.database) == []


async def test_months_are_attached_each_night(services: Services) -> None:
    later = start_of_month(NOW, 2)
    assert await retention.attach_next_months(later) == 2
    assert await retention.attach_next_months(later) == 0


async def test_night_of_a_backup_is_left_out(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "MAX_ATTEMPTS", 1)
    with connect(services.database.url) as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM execution_events")
        assert await retention.attach_next_months(start_of_month(NOW, 2)) == 0
    assert await retention.attach_next_months(start_of_month(NOW, 2)) == 2
