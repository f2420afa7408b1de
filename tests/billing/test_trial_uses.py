"""One trial for a person at sign-up, by their address."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from billing_app.billing.accounts.service import list_accounts
from billing_app.billing.actors import UserActor
from billing_app.billing.errors import PlanNotFoundError
from billing_app.billing.executions import store
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.requests import Mode
from billing_app.billing.identity import sessions
from billing_app.billing.plans.trial_uses import person_of
from billing_app.composition import Services
from tests.conftest import PUBLIC
from tests.factories import check_request, connect


async def sign_up(services: Services, email: str, *, one_per_person: bool = True) -> str:
    return await sessions.sign_up(
        services.database,
        email=email,
        password="correct horse battery",
        name="Ada",
        terms=replace(services.terms, one_per_person=one_per_person),
        now=datetime.now(UTC),
    )


def trials_of(database_url: str, *users: str) -> list[int]:
    """How many trials each of these users has."""
    query = (
        "SELECT count(p.sequence) FROM accounts AS a LEFT JOIN plans AS p ON p.account_id = a.id"
        " WHERE a.user_id = %s"
    )
    with connect(database_url) as connection:
        return [connection.execute(query, [user]).fetchone()[0] for user in users]  # pyright: ignore[reportOptionalSubscript]


@pytest.mark.parametrize(
    ("email", "person"),
    [
        ("Ada@Example.com", "ada@example.com"),
        ("ada+trial2@example.com", "ada@example.com"),
        ("ada+a+b@example.com", "ada@example.com"),
        ("ada.l@example.com", "ada.l@example.com"),
        ("a.d.a+x@GMail.com", "ada@gmail.com"),
        ("ada@googlemail.com", "ada@gmail.com"),
        ("+ada@example.com", "+ada@example.com"),
    ],
)
def test_addresses_of_one_person(email: str, person: str) -> None:
    assert person_of(email) == person


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ada#@example.com", "ada#+again@example.com"),
        ("ada#+1@example.com", "ada#+2@example.com"),
        ("ada#@gmail.com", "a.d.a#@googlemail.com"),
    ],
)
async def test_same_person_gets_an_account_without_a_second_trial(
    services: Services, database_url: str, first: str, second: str
) -> None:
    mark = uuid.uuid4().hex[:12]
    users = [
        await sign_up(services, each.replace("#", mark)) for each in (first, second, f"x{second}")
    ]
    assert trials_of(database_url, *users) == [1, 0, 1]
    (account,) = await list_accounts(services.database, UserActor(users[1], "Ada", ""))
    assert account.user_id == users[1]


async def test_service_gives_no_trial_to_who_was_refused_one(
    services: Services, database_url: str
) -> None:
    mark = uuid.uuid4().hex[:12]
    await sign_up(services, f"{mark}@example.com")
    second = await sign_up(services, f"{mark}+2@example.com")
    request = check_request(Mode.CONSUME, 1, "once", organization_id=PUBLIC, user_id=second)
    connection = await store.connect(database_url)
    try:
        directory, now = Directory(services.terms), datetime.now(UTC)
        (decision,) = await store.transact(connection, directory, [request], at=now)
    finally:
        await connection.close(timeout=1)
    assert isinstance(decision, PlanNotFoundError)
    assert trials_of(database_url, second) == [0]


async def test_two_at_once_get_one_trial(services: Services, database_url: str) -> None:
    mark = uuid.uuid4().hex[:12]
    users = await asyncio.gather(
        *(sign_up(services, f"{mark}+{number}@example.com") for number in range(4))
    )
    assert sorted(trials_of(database_url, *users)) == [0, 0, 0, 1]


async def test_without_the_setting_everybody_gets_a_trial(
    services: Services, database_url: str
) -> None:
    mark = uuid.uuid4().hex[:12]
    users = [
        await sign_up(services, f"{mark}+{number}@example.com", one_per_person=False)
        for number in range(2)
    ]
    assert trials_of(database_url, *users) == [1, 1]
