"""What was refused to an account, newest first."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_app.billing.actors import StaffActor, UserActor
from billing_app.billing.errors import AccountNotFoundError, ForbiddenError
from billing_app.billing.staff.customers.denials import MAX_DENIALS, list_denials
from billing_app.billing.usage.service import Days
from billing_app.db.enums import DenialReason, StaffRole
from tests.factories import connect
from tests.staff.staff_services import Customer

SUPPORT = StaffActor("usr_support", "Sam", StaffRole.SUPPORT)
PERSON = UserActor("usr_x", "Una", "una@example.com")
TODAY = datetime.now(UTC).date()
DAYS = Days(TODAY - timedelta(days=29), TODAY)


def deny(customer: Customer, days_ago: int, workflow: str, denied: int) -> None:
    with connect(customer.services.database.url) as connection:
        connection.execute(
            "INSERT INTO daily_denials (account_id, day, workflow, user_id, reason, denied)"
            " VALUES (%s, %s, %s, '', %s, %s)",
            [
                customer.holder.account_number,
                TODAY - timedelta(days=days_ago),
                workflow,
                DenialReason.PLAN_PAUSED,
                denied,
            ],
        )


async def test_denials_are_newest_first_within_the_days(customer: Customer) -> None:
    for days_ago, workflow, denied in ((30, "old", 9), (29, "a", 1), (0, "b", 2), (0, "c", 5)):
        deny(customer, days_ago, workflow, denied)
    found = await list_denials(customer.services.database, SUPPORT, customer.id, DAYS)
    assert [(each.workflow, each.denied) for each in found] == [("c", 5), ("b", 2), ("a", 1)]
    assert (found[0].day, found[0].reason) == (TODAY, DenialReason.PLAN_PAUSED)


async def test_denials_are_bounded(customer: Customer) -> None:
    for n in range(MAX_DENIALS + 3):
        deny(customer, 1, f"w{n}", 1)
    found = await list_denials(customer.services.database, SUPPORT, customer.id, DAYS)
    assert len(found) == MAX_DENIALS


async def test_denials_are_for_staff_only(customer: Customer) -> None:
    database = customer.services.database
    with pytest.raises(ForbiddenError):
        await list_denials(database, PERSON, customer.id, DAYS)
    with pytest.raises(AccountNotFoundError):
        await list_denials(database, SUPPORT, "acc_0", DAYS)
