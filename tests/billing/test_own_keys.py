"""API keys that customers create: who may, what they reach, and when they end."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing import ids
from billing_app.billing.accounts.names import checked_name
from billing_app.billing.accounts.own_keys import (
    MAX_DAYS,
    MAX_KEYS,
    OVERLAP,
    KeyFields,
    KeyNotFoundError,
    NewOwnKey,
    TooManyKeysError,
    create_own_key,
    list_own_keys,
    revoke_own_key,
    rotate_own_key,
)
from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor, PortalActor, ServiceActor, UserActor, ViewingActor
from billing_app.billing.errors import (
    AccountNotFoundError,
    BillingError,
    EventNotFoundError,
    ForbiddenError,
    InvalidInputError,
    NotAuthenticatedError,
    UserNotFoundError,
    WorkflowNotAllowedError,
)
from billing_app.billing.executions.requests import Accepted, CheckRequest, Mode, Refund
from billing_app.billing.executions.service import caller_of
from billing_app.billing.identity.api_keys import KeyRing
from billing_app.billing.identity.key_format import (
    ALPHABET,
    CHECKSUM_LENGTH,
    checksum,
    holds_key,
    new_secret,
    refuse_key,
)
from billing_app.billing.staff.audit.audit_writing import clean_reason
from billing_app.composition import Services
from billing_app.db.enums import AccountKind, Role, Scope, StaffRole
from tests.conftest import PUBLIC
from tests.factories import (
    Holder,
    connect,
    membership,
    organization,
    person,
    staff_member,
    trial,
)

NAMED = KeyFields("CI")


def now() -> datetime:
    return datetime.now(UTC)


async def made(services: Services, actor: Actor, holder: Holder, **fields: object) -> NewOwnKey:
    wanted = KeyFields("CI", **fields)  # pyright: ignore[reportArgumentType]
    return await create_own_key(services.database, actor, holder.account_id, wanted, now())


def owner_of(services: Services, *executions: int) -> tuple[UserActor, Holder]:
    url = services.database.url
    owner, holder = person(url), organization(url, *executions)
    membership(url, holder.organization_id, owner.user_id, Role.OWNER)
    return owner, holder


async def actor_of(services: Services, key: NewOwnKey) -> ServiceActor:
    return await KeyRing(services.database).authenticate(key.secret, now())


def use(actor: ServiceActor, holder: Holder, user_id: str = "", workflow: str = "") -> CheckRequest:
    return CheckRequest(
        mode=Mode.CONSUME,
        organization_id=holder.organization_id,
        user_id=user_id,
        executions=1,
        workflow=workflow,
        hold_seconds=60,
        idempotency_key=ids.new_id("run_"),
        caller=caller_of(actor),
    )


async def test_key_of_an_organization_counts_for_it_alone(services: Services) -> None:
    owner, holder = owner_of(services, 5)
    _, other = owner_of(services, 5)
    key = await actor_of(services, await made(services, owner, holder))
    assert isinstance(await services.executions.decide(key, use(key, holder)), Accepted)
    assert isinstance(await services.executions.decide(key, use(key, other)), ForbiddenError)


async def test_key_of_a_person_reaches_no_other_account(services: Services) -> None:
    """All people without an organization are users of the public one."""
    url = services.database.url
    ada, eve = person(url), person(url, "Eve")
    own, foreign = trial(url, ada.user_id, 5), trial(url, eve.user_id, 5)
    key = await actor_of(services, await made(services, ada, own))
    others_key = await actor_of(services, await made(services, eve, foreign))
    executions, database = services.executions, services.database
    counted = await executions.decide(key, use(key, own, ada.user_id))
    assert isinstance(counted, Accepted)
    for stranger in (eve.user_id, "", "nobody"):
        refused = await executions.decide(key, use(key, own, stranger))
        assert isinstance(refused, ForbiddenError)
    theirs = await executions.decide(others_key, use(others_key, foreign, eve.user_id))
    assert isinstance(theirs, Accepted)
    with connect(url) as connection:
        row = connection.execute(
            "SELECT number FROM execution_events WHERE account_id = %s", [foreign.account_number]
        ).fetchone()
    assert row is not None
    refund = Refund(foreign.account_number, row[0], None, "mine now", "r1", caller_of(key))
    assert isinstance(await executions.decide(key, refund), EventNotFoundError)
    find = services.accounts.find
    assert await find(key, organization_id=PUBLIC, user_id=ada.user_id) == own.account_id
    with pytest.raises((ForbiddenError, UserNotFoundError)):
        await find(key, organization_id=PUBLIC, user_id=eve.user_id)
    assert services.accounts.known(key, organization_id=PUBLIC, user_id=eve.user_id) is None
    async with database.reading() as session:
        assert (await authorize_reading(session, key, own.account_id)).id == own.account_number
        with pytest.raises(AccountNotFoundError):
            await authorize_reading(session, key, foreign.account_id)
    with pytest.raises(AccountNotFoundError):
        await services.polled_plans.read(key, foreign.account_id, now())


async def test_key_of_a_workflow_counts_for_it_alone(services: Services) -> None:
    owner, holder = owner_of(services, 5)
    key = await actor_of(services, await made(services, owner, holder, workflow="triage"))
    refused = await services.executions.decide(key, use(key, holder, workflow="reports"))
    assert isinstance(refused, WorkflowNotAllowedError)
    for workflow in ("", "triage"):
        assert isinstance(
            await services.executions.decide(key, use(key, holder, workflow=workflow)), Accepted
        )
    with connect(services.database.url) as connection:
        counted = connection.execute(
            "SELECT workflow FROM execution_events WHERE account_id = %s", [holder.account_number]
        ).fetchall()
    assert counted == [("triage",), ("triage",)]


async def test_rotated_key_works_for_a_day_more(services: Services) -> None:
    owner, holder = owner_of(services, 5)
    old = await made(services, owner, holder, workflow="triage", days=90)
    at = now()
    new = await rotate_own_key(services.database, owner, holder.account_id, old.key.id, at)
    ring = KeyRing(services.database)
    assert (new.key.name, new.key.scopes, new.key.workflow) == ("CI", old.key.scopes, "triage")
    assert new.key.expires_at is not None
    assert new.key.expires_at - at == timedelta(days=90)
    assert await ring.authenticate(new.secret, at)
    assert await KeyRing(services.database).authenticate(old.secret, at + OVERLAP / 2)
    with pytest.raises(NotAuthenticatedError):
        await KeyRing(services.database).authenticate(old.secret, at + OVERLAP)


async def test_revoked_key_is_listed_for_a_while_and_cannot_come_back(services: Services) -> None:
    owner, holder = owner_of(services)
    database, account_id = services.database, holder.account_id
    key = await made(services, owner, holder)
    await revoke_own_key(database, owner, account_id, key.key.id, now())
    with pytest.raises(NotAuthenticatedError):
        await actor_of(services, key)
    for act in (rotate_own_key, revoke_own_key):
        with pytest.raises(KeyNotFoundError):
            await act(database, owner, account_id, key.key.id, now())
    (listed,) = (await list_own_keys(database, owner, account_id, now())).items
    assert listed.revoked_at is not None
    later = now() + timedelta(days=31)
    assert (await list_own_keys(database, owner, account_id, later)).items == []


async def test_last_use_is_noted(services: Services) -> None:
    owner, holder = owner_of(services)
    key = await made(services, owner, holder)
    assert key.key.last_used_at is None
    ring = KeyRing(services.database)
    await ring.authenticate(key.secret, now())
    await ring.close()
    page = await list_own_keys(services.database, owner, holder.account_id, now())
    assert page.items[0].last_used_at is not None


async def test_list_is_paged(services: Services) -> None:
    owner, holder = owner_of(services)
    keys = [await made(services, owner, holder) for _ in range(5)]
    found: list[int] = []
    cursor: str | None = None
    while True:
        page = await list_own_keys(
            services.database, owner, holder.account_id, now(), limit=2, cursor=cursor
        )
        found += [key.id for key in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [key.key.id for key in reversed(keys)]


async def test_no_more_keys_than_can_be_looked_after(services: Services) -> None:
    owner, holder = owner_of(services)
    with connect(services.database.url) as connection:
        connection.execute(
            "INSERT INTO api_keys (name, key_hash, hint, scopes, organization_id, created_at)"
            " SELECT 'k', sha256((%s || n)::bytea), 'bil_', '{executions}', %s, now()"
            " FROM generate_series(1, %s) AS n",
            [holder.organization_id, holder.organization_id, MAX_KEYS - 1],
        )
    outcomes = await asyncio.gather(
        *(made(services, owner, holder) for _ in range(3)), return_exceptions=True
    )
    assert sum(isinstance(each, NewOwnKey) for each in outcomes) == 1
    assert sum(isinstance(each, TooManyKeysError) for each in outcomes) == 2


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": f"old {new_secret()}"}, "name"),
        ({"workflow": new_secret()}, "workflow"),
        ({"workflow": "a\x00b"}, "workflow"),
        ({"workflow": "x" * 256}, "workflow"),
        ({"scopes": frozenset[Scope]()}, "scopes"),
        ({"scopes": frozenset({Scope.STAFF})}, "scopes"),
        ({"scopes": frozenset({Scope.EXECUTIONS, Scope.ACCOUNTS})}, "scopes"),
        ({"days": 0}, "days"),
        ({"days": MAX_DAYS + 1}, "days"),
    ],
)
async def test_bad_input(services: Services, fields: dict[str, object], field: str) -> None:
    owner, holder = owner_of(services)
    wanted = KeyFields(**({"name": "CI"} | fields))  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInputError) as caught:
        await create_own_key(services.database, owner, holder.account_id, wanted, now())
    assert caught.value.extensions["field"] == field


async def test_person_gives_no_key_what_organizations_have(services: Services) -> None:
    ada = person(services.database.url)
    own = trial(services.database.url, ada.user_id, 5)
    for scope in (Scope.WEBHOOKS, Scope.SUBSCRIPTIONS, Scope.PLANS_WRITE):
        with pytest.raises(InvalidInputError):
            await made(services, ada, own, scopes=frozenset({scope}))


@pytest.mark.parametrize("role", [*Role, None])
async def test_only_owners_and_billing_admins_manage_keys(
    services: Services, role: Role | None
) -> None:
    owner, holder = owner_of(services)
    key = await made(services, owner, holder)
    url = services.database.url
    somebody = person(url, "Somebody")
    if role is not None:
        membership(url, holder.organization_id, somebody.user_id, role)
    may = role in (Role.OWNER, Role.BILLING_ADMIN)
    refusal = AccountNotFoundError if role is None else ForbiddenError
    await _try_each(services, somebody, holder, key, None if may else refusal)


async def test_keys_portals_and_staff_manage_no_keys(services: Services) -> None:
    owner, holder = owner_of(services)
    url, number = services.database.url, holder.account_number
    key = await made(services, owner, holder, scopes=frozenset({Scope.SUBSCRIPTIONS}))
    staff = staff_member(url, StaffRole.ADMIN)
    portal = PortalActor("p1", "P", "", number, Role.OWNER, "https://app.example")
    for actor in (await actor_of(services, key), portal, staff):
        await _try_each(services, actor, holder, key, ForbiddenError)
    viewing = ViewingActor(staff, number, AccountKind.ORGANIZATION, "Acme", now())
    page = await list_own_keys(services.database, viewing, holder.account_id, now())
    assert len(page.items) == 1
    with pytest.raises(ForbiddenError):
        await made(services, viewing, holder)


async def test_nobody_changes_a_key_through_another_account(services: Services) -> None:
    owner, holder = owner_of(services)
    key = await made(services, owner, holder)
    stranger, own = owner_of(services)
    for act in (rotate_own_key, revoke_own_key):
        with pytest.raises(KeyNotFoundError):
            await act(services.database, stranger, own.account_id, key.key.id, now())
    assert await actor_of(services, key)


async def _try_each(
    services: Services,
    actor: Actor,
    holder: Holder,
    key: NewOwnKey,
    refusal: type[BillingError] | None,
) -> None:
    database, account_id = services.database, holder.account_id
    acts = (
        lambda: list_own_keys(database, actor, account_id, now()),
        lambda: create_own_key(database, actor, account_id, NAMED, now()),
        lambda: rotate_own_key(database, actor, account_id, key.key.id, now()),
        lambda: revoke_own_key(database, actor, account_id, key.key.id, now()),
    )
    for act in acts:
        if refusal is None:
            await act()
            continue
        with pytest.raises(refusal):
            await act()


@given(st.text(ALPHABET, min_size=43, max_size=43), st.text(max_size=8), st.text(max_size=8))
def test_scanners_know_a_key_by_its_checksum(random: str, before: str, after: str) -> None:
    key = f"bil_{random}{checksum(random)}"
    assert holds_key(key)
    assert holds_key(f"{before} {key} {after}")
    digits = key[-CHECKSUM_LENGTH:]
    wrong = ALPHABET[(ALPHABET.index(digits[-1]) + 1) % len(ALPHABET)]
    assert not holds_key(key[:-1] + wrong)
    assert not holds_key(f"x{key}")
    with pytest.raises(InvalidInputError):
        refuse_key(key, field="name")


@pytest.mark.parametrize("check", [checked_name, clean_reason])
def test_texts_that_others_read_hold_no_key(check: Callable[[str], str]) -> None:
    assert check("Rotate bil_old") == "Rotate bil_old"
    with pytest.raises(InvalidInputError, match="contains an API key"):
        check(f"Old: {new_secret()}")
