"""The mark of an account differs when something was written about it, and only then."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from billing_app.billing import ids
from billing_app.billing.actors import OperatorActor
from billing_app.billing.errors import AccountNotFoundError
from billing_app.billing.executions.requests import Mode
from billing_app.billing.marks import BY_DAY, OF_ACCOUNT, read_mark
from billing_app.composition import Services
from tests.factories import PLATFORM_SERVICE, add_plan, check_request, connect, organization, person


async def test_what_is_written_shows(services: Services, database_url: str) -> None:
    holder, other = organization(database_url, 5), organization(database_url, 5)
    account_id = ids.encode_account(holder.account_number)

    async def mark() -> str:
        return await read_mark(services.database, OperatorActor(), account_id, datetime.now(UTC))

    async def consume(organization_id: str, executions: int) -> None:
        asked = check_request(
            Mode.CONSUME, executions, uuid4().hex, organization_id=organization_id
        )
        await services.executions.decide(PLATFORM_SERVICE, asked)

    seen = [await mark()]
    assert await mark() == seen[-1]
    await consume(other.organization_id, 1)
    assert await mark() == seen[-1]
    for executions in (2, 100):
        await consume(holder.organization_id, executions)
        seen.append(await mark())
    add_plan(database_url, holder, 2, 7)
    seen.append(await mark())
    assert len(set(seen)) == 4


async def test_it_is_told_to_who_may_see_the_account(services: Services, database_url: str) -> None:
    account_id = ids.encode_account(organization(database_url, 5).account_number)
    with pytest.raises(AccountNotFoundError):
        await read_mark(services.database, person(database_url), account_id, datetime.now(UTC))


def test_every_table_is_led_by_its_account(database_url: str) -> None:
    """So that a mark reads few rows, on one shard."""
    with connect(database_url) as connection:
        for table in (*OF_ACCOUNT, *BY_DAY):
            row = connection.execute(
                "SELECT attname FROM pg_index JOIN pg_attribute"
                " ON attrelid = indrelid AND attnum = indkey[0]"
                " WHERE indrelid = %s::regclass AND indisprimary",
                [table],
            ).fetchone()
            assert row == ("account_id",)
