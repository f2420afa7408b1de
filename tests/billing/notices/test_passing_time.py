"""What time brings is told once: renewals, the end of grace, keys that expire."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.rules import Rule
from billing_app.billing.notices.passing_time import write_notices
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind, NoticeKind, Scope
from tests.billing.alerts.rows import own_rules
from tests.billing.notices.rows import DAY, NOW, notices, team
from tests.factories import Holder, api_key, connect, person, public_organization, trial


@pytest.fixture
async def ground(own_database_url: str) -> AsyncIterator[Any]:
    database = Database(own_database_url)
    book = RuleBook(database)

    async def write() -> int:
        return await write_notices(database, book, NOW)

    yield SimpleNamespace(url=own_database_url, write=write, book=book)
    await database.dispose()


def kinds(url: str, holder: Holder) -> list[str]:
    return [each.kind for each in notices(url, holder)]


async def test_renewal_is_told_once_a_week_before(ground: Any) -> None:
    soon = team(ground.url, period_end=NOW + 6 * DAY)
    later = team(ground.url, period_end=NOW + 8 * DAY)
    cancelled = team(ground.url, period_end=NOW + 6 * DAY, cancel=True)
    assert [await ground.write() for _ in range(2)] == [1, 0]
    (notice,) = notices(ground.url, soon.holder)
    assert notice.kind == NoticeKind.RENEWAL_COMING
    figures = notice.figures
    assert (figures["amount_minor"], figures["currency"], figures["interval"]) == (
        900,
        "USD",
        "month",
    )
    assert kinds(ground.url, later.holder) == kinds(ground.url, cancelled.holder) == []


async def test_account_with_a_rule_of_its_own_is_told_by_its_alert(ground: Any) -> None:
    acme = team(ground.url, period_end=NOW + 6 * DAY)
    own_rules(ground.url, acme.holder, Rule(AlertKind.RENEWAL_COMING, 3))
    assert await ground.write() == 0


async def test_plan_that_stops_for_an_overdue_payment_is_told_once(ground: Any) -> None:
    acme, grace = (team(ground.url, past_due=NOW - 8 * DAY) for _ in range(2))
    for each, suspended_at in ((acme, NOW - DAY / 2), (grace, NOW + DAY)):
        with connect(ground.url) as connection:
            connection.execute(
                "UPDATE plans SET source = 'subscription', suspended_at = %s WHERE account_id = %s",
                [suspended_at, each.holder.account_number],
            )
    assert [await ground.write() for _ in range(2)] == [1, 0]
    assert kinds(ground.url, acme.holder) == [NoticeKind.PLAN_SUSPENDED]
    assert kinds(ground.url, grace.holder) == []


async def test_key_that_expires_within_a_week_is_told_once(ground: Any) -> None:
    acme = team(ground.url)
    organization_id = acme.holder.organization_id
    for _ in range(3):
        api_key(ground.url, Scope.EXECUTIONS, organization_id=organization_id)
    with connect(ground.url) as connection:
        connection.execute("UPDATE api_keys SET name = 'key ' || id")
    with connect(ground.url) as connection:
        found = "SELECT id FROM api_keys WHERE organization_id = %s ORDER BY id"
        soon, later, revoked = (row[0] for row in connection.execute(found, [organization_id]))
        for key, days, revoked_at in ((soon, 6, None), (later, 8, None), (revoked, 6, NOW)):
            connection.execute(
                "UPDATE api_keys SET expires_at = %s, revoked_at = %s WHERE id = %s",
                [NOW + days * DAY, revoked_at, key],
            )
    assert [await ground.write() for _ in range(2)] == [1, 0]
    (notice,) = notices(ground.url, acme.holder)
    assert notice.kind == NoticeKind.KEY_EXPIRING
    assert notice.key.startswith(f"key:{soon}:")


async def test_key_that_was_rotated_is_not_told(ground: Any) -> None:
    acme = team(ground.url)
    for expires_at in (NOW + DAY, None):
        api_key(
            ground.url,
            Scope.EXECUTIONS,
            organization_id=acme.holder.organization_id,
            expires_at=expires_at,
        )
    assert await ground.write() == 0


async def test_key_of_a_person_is_told_to_them_alone(ground: Any) -> None:
    public_organization(ground.url)
    ada, grace = person(ground.url), person(ground.url)
    holder, other = (trial(ground.url, each.user_id, 10) for each in (ada, grace))
    api_key(
        ground.url,
        Scope.EXECUTIONS,
        organization_id=holder.organization_id,
        expires_at=NOW + DAY,
    )
    with connect(ground.url) as connection:
        connection.execute("UPDATE api_keys SET user_id = %s", [ada.user_id])
    assert await ground.write() == 1
    assert [each.user_id for each in notices(ground.url, holder)] == [ada.user_id]
    assert notices(ground.url, other) == []
