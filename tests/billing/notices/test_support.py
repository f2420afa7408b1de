"""What support did is mailed once, from the audit log, and never what was done before."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from billing_app.billing.actors import StaffActor
from billing_app.billing.notices.support import write_support_notices
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.audit_writing import AuditRecord, record
from billing_app.db.engine import Database
from billing_app.db.enums import NoticeKind, StaffRole
from tests.billing.notices.rows import DAY, NOW, Team, notices, team
from tests.factories import connect

SAM = StaffActor("usr_sam", "Sam", StaffRole.ADMIN)


@pytest.fixture
async def ground(own_database_url: str) -> AsyncIterator[Any]:
    database = Database(own_database_url)

    async def do(acme: Team, action: Action, **more: Any) -> None:
        number = acme.holder.account_number
        entry = AuditRecord(action, "As agreed on the phone.", number, **more)
        async with database.transaction() as session:
            await record(session, SAM, entry, NOW)

    async def write() -> int:
        return await write_support_notices(database, NOW)

    yield SimpleNamespace(url=own_database_url, do=do, write=write)
    await database.dispose()


async def test_repair_is_mailed_once_with_its_reason_and_without_a_name(ground: Any) -> None:
    acme = team(ground.url)
    await ground.do(acme, Action.SIGN_OUT)
    assert [await ground.write() for _ in range(2)] == [1, 0]
    (notice,) = notices(ground.url, acme.holder)
    assert (notice.kind, notice.user_id) == (NoticeKind.SUPPORT, acme.owner.user_id)
    assert notice.figures == {
        "what": "A member was signed out everywhere",
        "reason": "As agreed on the phone.",
    }


async def test_looking_and_what_is_no_customers_business_are_not_mailed(ground: Any) -> None:
    acme = team(ground.url)
    for action in (Action.VIEW_AS_CUSTOMER, Action.REPLAY_EVENT, Action.READ):
        await ground.do(acme, action)
    assert await ground.write() == 0


async def test_entries_of_the_release_before_and_old_ones_are_not_mailed(ground: Any) -> None:
    acme = team(ground.url)
    with connect(ground.url) as connection:
        for is_news, at in ((None, NOW), (True, NOW - 4 * DAY)):
            connection.execute(
                "INSERT INTO audit_entries (at, actor_id, actor_name, role, action, account_id,"
                " subject, reason, before, after, is_news)"
                " VALUES (%s, 'usr_sam', 'Sam', 'admin', 'sign_out_everywhere', %s, '', 'Why',"
                " '{}', '{}', %s)",
                [at, acme.holder.account_number, is_news],
            )
    assert await ground.write() == 0
