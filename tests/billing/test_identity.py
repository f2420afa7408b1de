"""Passwords, rate limits, sessions and keys."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from billing_app.billing import ids
from billing_app.billing.accounts.service import list_accounts
from billing_app.billing.actors import ServiceActor, UserActor
from billing_app.billing.errors import (
    EmailTakenError,
    ForbiddenError,
    InvalidInputError,
    NotAuthenticatedError,
    OrganizationNotFoundError,
    ScopeMissingError,
    UserNotFoundError,
)
from billing_app.billing.identity import api_keys, sessions
from billing_app.billing.identity.api_keys import KeyRing
from billing_app.billing.identity.password_hashing import (
    MAX_LENGTH,
    MIN_LENGTH,
    hash_password,
    is_password,
)
from billing_app.billing.lists.paging import MAX_LIMIT, check_limit
from billing_app.billing.retention import purge_password_links
from billing_app.composition import Services
from billing_app.db.enums import AccountKind, Scope
from tests.conftest import TRIAL_EXECUTIONS
from tests.factories import OPERATOR, connect, organization, person, trial

PASSWORD = "correct horse battery"


async def sign_up(services: Services, email: str) -> str:
    return await sessions.sign_up(
        services.database,
        email=email,
        password=PASSWORD,
        name="Ada",
        terms=services.terms,
        now=datetime.now(UTC),
    )


async def sign_in(
    services: Services, email: str, password: str = PASSWORD, at: datetime | None = None
) -> str:
    signed_in = await sessions.sign_in(
        services.database,
        email=email,
        password=password,
        user_agent="test",
        session_days=1,
        now=at or datetime.now(UTC),
    )
    return signed_in.token


def new_email() -> str:
    return f"{ids.new_id('')}@example.com"


async def test_password_is_stored_as_a_hash_only() -> None:
    first, second = await hash_password(PASSWORD), await hash_password(PASSWORD)
    assert first != second
    assert first.startswith("$argon2id$")
    assert await is_password(PASSWORD, first)
    assert not await is_password(PASSWORD + ".", first)
    assert not await is_password(PASSWORD, None)
    assert not await is_password("nobody has this password", None)
    assert not await is_password(PASSWORD, "no hash")


@pytest.mark.parametrize("length", [0, MIN_LENGTH - 1, MAX_LENGTH + 1])
async def test_password_length_is_limited(length: int) -> None:
    with pytest.raises(InvalidInputError):
        await hash_password("p" * length)


async def test_weak_password_of_before_still_signs_in(
    services: Services, database_url: str
) -> None:
    email = new_email()
    user_id, old_hash = await sign_up(services, email), await hash_password("pppppppppp")
    with connect(database_url) as connection:
        connection.execute("UPDATE users SET password_hash = %s WHERE id = %s", [old_hash, user_id])
    assert await sign_in(services, email, "pppppppppp")


async def test_old_password_fails_during_a_password_change(
    services: Services, database_url: str
) -> None:
    """Checking a password takes long enough for one; the session would survive its sign-out."""
    email, new_hash = new_email(), await hash_password(PASSWORD + ".")
    user_id = await sign_up(services, email)
    with connect(database_url) as changing, changing.transaction():
        changing.execute("UPDATE users SET password_hash = %s WHERE id = %s", [new_hash, user_id])
        trying = asyncio.create_task(sign_in(services, email))
        while not await asyncio.to_thread(_is_anybody_waiting, database_url):
            assert not trying.done()
    with pytest.raises(NotAuthenticatedError):
        await trying
    assert await sign_in(services, email, PASSWORD + ".")


def _is_anybody_waiting(database_url: str) -> bool:
    with connect(database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND query LIKE '%FROM users%'"
        ).fetchone()
    return row is not None and row[0] > 0


async def test_expired_reset_links_are_deleted(services: Services, database_url: str) -> None:
    user_id, now = await sign_up(services, new_email()), datetime.now(UTC)
    with connect(database_url) as connection:
        connection.execute(
            "INSERT INTO password_resets (token_hash, user_id, created_at, expires_at)"
            " SELECT int4send(n), %s, now(), now() + n * interval '1 hour'"
            " FROM generate_series(-3, 3) AS n",
            [user_id],
        )
    assert await purge_password_links(services.database, now=now) == 3
    with connect(database_url) as connection:
        connection.execute("DELETE FROM password_resets WHERE user_id = %s", [user_id])


async def test_sign_up_creates_one_trial(services: Services) -> None:
    email = new_email()
    user_id = await sign_up(services, email)
    with pytest.raises(EmailTakenError):
        await sign_up(services, email.upper())
    with connect(services.database.url) as connection:
        rows = connection.execute(
            "SELECT p.type, p.executions, p.used FROM plans AS p"
            " JOIN accounts AS a ON a.id = p.account_id WHERE a.user_id = %s",
            [user_id],
        ).fetchall()
    assert rows == [("trial", TRIAL_EXECUTIONS, 0)]
    person = UserActor(user_id, "Ada", email)
    (account,) = await list_accounts(services.database, person)
    assert (account.kind, account.user_id) == (AccountKind.USER, user_id)


@pytest.mark.parametrize("email", ["", "a", "a@b", "a b@c.de", "a@b.c d", "a@@b.cd", "@b.cd"])
async def test_invalid_email_addresses(services: Services, email: str) -> None:
    with pytest.raises(InvalidInputError):
        await sign_up(services, email)


async def test_sign_in_fails_the_same_way_for_unknown_user_and_wrong_password(
    services: Services,
) -> None:
    email = new_email()
    await sign_up(services, email)
    with pytest.raises(NotAuthenticatedError) as wrong:
        await sign_in(services, email, "wrong password")
    with pytest.raises(NotAuthenticatedError) as unknown:
        await sign_in(services, new_email())
    assert wrong.value.detail == unknown.value.detail
    assert await sign_in(services, f" {email.upper()} ")


async def test_session_ends_at_sign_out_sign_out_everywhere_and_expiry(services: Services) -> None:
    email, now = new_email(), datetime.now(UTC)
    user_id = await sign_up(services, email)
    first, second, third = [await sign_in(services, email, at=now) for _ in range(3)]
    person = await sessions.authenticate(services.database, first, now)
    assert person is not None
    assert person == UserActor(user_id, "Ada", email)
    after = now + timedelta(days=1, seconds=1)
    assert await sessions.authenticate(services.database, first, after) is None
    await sessions.sign_out(services.database, first, now)
    assert await sessions.authenticate(services.database, first, now) is None
    assert await sessions.authenticate(services.database, second, now) == person
    await sessions.sign_out_everywhere(services.database, person, now)
    for token in (second, third, "", "unknown"):
        assert await sessions.authenticate(services.database, token, now) is None


async def test_database_stores_no_token_and_no_key(services: Services) -> None:
    email, now = new_email(), datetime.now(UTC)
    await sign_up(services, email)
    token = await sign_in(services, email)
    key = await api_keys.create_key(
        services.database,
        OPERATOR,
        name="k",
        scopes=frozenset({Scope.EXECUTIONS}),
        organization_id=None,
        now=now,
    )
    with connect(services.database.url) as connection:
        for table, secret in (("sessions", token), ("api_keys", key.secret)):
            query = f"SELECT count(*) FROM {table} AS t WHERE strpos(t::text, %s) > 0"  # noqa: S608
            found = connection.execute(query, [secret]).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
            assert found == (0,)


async def test_key_is_revoked_once_and_expires(services: Services) -> None:
    now = datetime.now(UTC)
    holder = organization(services.database.url)
    key = await api_keys.create_key(
        services.database,
        OPERATOR,
        name="k",
        scopes=frozenset({Scope.EXECUTIONS, Scope.PLANS_READ}),
        organization_id=holder.organization_id,
        now=now,
        expires_at=now + timedelta(hours=1),
    )
    expected = ServiceActor(
        key.id, frozenset({"executions", "plans:read"}), holder.organization_id, name="k"
    )
    assert await KeyRing(services.database).authenticate(key.secret, now) == expected
    with pytest.raises(NotAuthenticatedError):
        await KeyRing(services.database).authenticate(key.secret, now + timedelta(hours=1))
    for was_live in (True, False):
        revoked = await api_keys.revoke_key(services.database, OPERATOR, key_id=key.id, now=now)
        assert revoked is was_live
    with pytest.raises(NotAuthenticatedError):
        await KeyRing(services.database).authenticate(key.secret, now)


async def test_key_needs_operator_name_scope_and_existing_organization(
    services: Services,
) -> None:
    now, some = datetime.now(UTC), frozenset({Scope.EXECUTIONS})
    database = services.database

    async def create(actor: object, name: str, scopes: frozenset[Scope], where: str | None) -> None:
        await api_keys.create_key(
            database,
            actor,  # pyright: ignore[reportArgumentType]
            name=name,
            scopes=scopes,
            organization_id=where,
            now=now,
        )

    with pytest.raises(ForbiddenError):
        await create(UserActor("u", "", ""), "k", some, None)
    with pytest.raises(InvalidInputError):
        await create(OPERATOR, " ", some, None)
    with pytest.raises(InvalidInputError):
        await create(OPERATOR, "k", frozenset(), None)
    with pytest.raises(OrganizationNotFoundError):
        await create(OPERATOR, "k", some, "nowhere")


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1, 10**30])
def test_page_limit_is_bounded(limit: int) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_limit(limit)
    assert refused.value.extensions == {"field": "limit"}


def test_smallest_and_largest_page_limits() -> None:
    assert [check_limit(limit) for limit in (1, MAX_LIMIT)] == [1, MAX_LIMIT]


async def test_cached_account_stays_hidden_from_other_callers(services: Services) -> None:
    url = services.database.url
    holder, other = organization(url, 5), organization(url, 5)
    scopes = frozenset({Scope.PLANS_READ})
    platform = ServiceActor(1, scopes, None)

    async def find(actor: ServiceActor | UserActor) -> str:
        return await services.accounts.find(
            actor, organization_id=holder.organization_id, user_id=""
        )

    assert await find(platform) == await find(platform) == holder.account_id
    assert await find(ServiceActor(2, scopes, holder.organization_id)) == holder.account_id
    with pytest.raises(ForbiddenError):
        await find(ServiceActor(3, scopes, other.organization_id))
    with pytest.raises(ScopeMissingError):
        await find(ServiceActor(4, frozenset({Scope.STAFF}), None))
    with pytest.raises(OrganizationNotFoundError):
        await find(person(url))


async def test_user_is_found_once_they_have_a_trial(services: Services) -> None:
    platform = ServiceActor(1, frozenset({Scope.PLANS_READ}), None)
    public = services.terms.public_organization_id
    user_id = person(services.database.url).user_id
    with pytest.raises(UserNotFoundError):
        await services.accounts.find(platform, organization_id=public, user_id=user_id)
    holder = trial(services.database.url, user_id, 5)
    found = await services.accounts.find(platform, organization_id=public, user_id=user_id)
    assert found == holder.account_id
