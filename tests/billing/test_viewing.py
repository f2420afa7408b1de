"""View as customer: one account, read-only, for half an hour, audited."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.accounts.service import ReadOnlyError, authorize_managing, list_accounts
from billing_app.billing.actors import StaffActor, UserActor, ViewingActor
from billing_app.billing.errors import (
    AccountNotFoundError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    OrganizationNotFoundError,
)
from billing_app.billing.identity import sessions
from billing_app.billing.plans import service as plans
from billing_app.billing.staff.access.viewing import (
    VIEW_MINUTES,
    begin_view,
    end_old_views,
    end_view,
    visit,
)
from billing_app.billing.usage import service as usage
from billing_app.billing.usage.service import Days, EventFilter, GroupBy
from billing_app.composition import Services
from billing_app.db.enums import AccountKind, StaffRole, When
from tests.factories import (
    Holder,
    connect,
    counts,
    organization,
    person,
    session_token,
    staff_member,
)

REASON = "They ask why a run was refused."
WEEK = Days(date(2026, 3, 1), date(2026, 3, 7))


@dataclass(frozen=True, slots=True)
class Colleague:
    """A signed-in staff member."""

    actor: StaffActor
    token: str


def colleague(services: Services, role: StaffRole = StaffRole.SUPPORT) -> Colleague:
    url = services.database.url
    actor = staff_member(url, role)
    return Colleague(actor, session_token(url, actor.actor_id))


async def seen_as(services: Services, token: str, now: datetime) -> Any:
    visitor = await visit(services.database, token, now)
    assert visitor is not None
    return visitor.actor


async def begin(services: Services, who: Colleague, holder: Holder, now: datetime) -> Any:
    """Begin a view; returns the actor that reads the customer's pages."""
    await begin_view(
        services.database, who.actor, who.token, holder.account_id, reason=REASON, now=now
    )
    return await seen_as(services, who.token, now)


def entries(url: str, holder: Holder) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return connection.execute(
            "SELECT action, actor_id, reason, at FROM audit_entries WHERE account_id = %s"
            " ORDER BY id",
            [holder.account_number],
        ).fetchall()


@pytest.mark.parametrize("role", StaffRole)
async def test_staff_of_any_role_can_view_an_account_and_it_is_audited(
    services: Services, role: StaffRole
) -> None:
    now, url = datetime.now(UTC), services.database.url
    holder = organization(url, 10)
    who = colleague(services, role)
    actor = await begin(services, who, holder, now)
    until = now + timedelta(minutes=VIEW_MINUTES)
    assert actor == ViewingActor(
        who.actor, holder.account_number, AccountKind.ORGANIZATION, "Acme", until
    )
    (account,) = await list_accounts(services.database, actor)
    assert (account.account_id, account.name, account.kind) == (
        holder.account_id,
        "Acme",
        AccountKind.ORGANIZATION,
    )
    current = await plans.read_current(services.database, actor, holder.account_id, now)
    assert current.executions_remaining == 10
    assert await end_view(services.database, who.actor, who.token, now) == holder.account_id
    assert isinstance(await seen_as(services, who.token, now), UserActor)
    assert entries(url, holder) == [
        ("view_as_customer", who.actor.actor_id, REASON, now),
        ("end_view_as_customer", who.actor.actor_id, "Ended by the staff member.", now),
    ]
    assert await end_view(services.database, who.actor, who.token, now) is None
    assert len(entries(url, holder)) == 2


async def test_trial_account_is_named_after_its_holder(services: Services) -> None:
    now = datetime.now(UTC)
    user_id = await sessions.sign_up(
        services.database,
        email=f"{ids.new_id('')}@example.com",
        password="correct horse battery",
        name="Iris",
        terms=services.terms,
        now=now,
    )
    with connect(services.database.url) as connection:
        row = connection.execute("SELECT id FROM accounts WHERE user_id = %s", [user_id]).fetchone()
    assert row is not None
    actor = await begin(services, colleague(services), Holder("public", row[0]), now)
    (account,) = await list_accounts(services.database, actor)
    assert (account.name, account.kind, account.user_id) == ("Iris", AccountKind.USER, user_id)


async def test_other_accounts_stay_hidden(services: Services) -> None:
    now, database = datetime.now(UTC), services.database
    holder, other = organization(database.url, 10), organization(database.url, 10)
    actor = await begin(services, colleague(services), holder, now)
    with pytest.raises(AccountNotFoundError):
        await plans.read_current(database, actor, other.account_id, now)
    with pytest.raises(AccountNotFoundError):
        await usage.list_events(database, actor, other.account_id, where=EventFilter(), limit=5)
    with pytest.raises(AccountNotFoundError):
        await usage.read_daily(database, actor, other.account_id, days=WEEK, group_by=GroupBy.DAY)
    with pytest.raises(OrganizationNotFoundError):
        await services.accounts.find(actor, organization_id=other.organization_id, user_id="")


async def test_viewing_is_read_only(services: Services) -> None:
    now, database = datetime.now(UTC), services.database
    holder = organization(database.url, 10)
    actor = await begin(services, colleague(services, StaffRole.ADMIN), holder, now)
    before = counts(database.url)
    subscriptions = services.subscriptions
    async with database.reading() as session:
        with pytest.raises(ReadOnlyError):
            await authorize_managing(session, actor, holder.account_id)
    with pytest.raises(ReadOnlyError):
        await subscriptions.begin(
            actor, holder.account_id, offer_code="x", success_url="", cancel_url="", now=now
        )
    with pytest.raises(ReadOnlyError):
        await subscriptions.portal_url(actor, holder.account_id, return_url="", now=now)
    with pytest.raises(ForbiddenError):
        await begin_view(database, actor, "t", holder.account_id, reason=REASON, now=now)
    for refused in ("cancel", "resume"):
        more = {"when": When.NOW} if refused == "cancel" else {}
        with pytest.raises((ReadOnlyError, NotFoundError)):
            await getattr(subscriptions, refused)(actor, ids.encode("sub_", 1, 1), now=now, **more)
    assert counts(database.url) == before


async def test_view_expires(services: Services) -> None:
    now, url = datetime.now(UTC), services.database.url
    holder, who = organization(url, 10), colleague(services)
    await begin(services, who, holder, now)
    end = now + timedelta(minutes=VIEW_MINUTES)
    just_before = end - timedelta(microseconds=1)
    assert isinstance(await seen_as(services, who.token, just_before), ViewingActor)
    assert isinstance(await seen_as(services, who.token, end), UserActor)
    await end_old_views(services.database, just_before)
    assert len(entries(url, holder)) == 1
    assert await end_old_views(services.database, end + timedelta(seconds=40)) >= 1
    assert entries(url, holder)[1:] == [
        ("end_view_as_customer", who.actor.actor_id, "The view expired.", end)
    ]
    await end_old_views(services.database, end + timedelta(hours=1))
    assert len(entries(url, holder)) == 2


async def test_view_ends_with_session_and_role(services: Services) -> None:
    now, database = datetime.now(UTC), services.database
    holder = organization(database.url, 10)
    leaving, signing_out = colleague(services), colleague(services)
    for who in (leaving, signing_out):
        await begin(services, who, holder, now)
    with connect(database.url) as connection:
        connection.execute(
            "UPDATE staff_members SET removed_at = now() WHERE user_id = %s",
            [leaving.actor.actor_id],
        )
    assert isinstance(await seen_as(services, leaving.token, now), UserActor)
    await sessions.sign_out(database, signing_out.token, now)
    assert await visit(database, signing_out.token, now) is None
    await end_old_views(database, now)
    assert (entries(database.url, holder)[-1][1:3]) == (
        signing_out.actor.actor_id,
        "Signed out.",
    )


async def test_second_view_ends_the_first(services: Services) -> None:
    now, url = datetime.now(UTC), services.database.url
    first, second = organization(url, 10), organization(url, 20)
    who = colleague(services)
    await begin(services, who, first, now)
    actor = await begin(services, who, second, now)
    assert actor.account_number == second.account_number
    assert [row[0] for row in entries(url, first)] == ["view_as_customer", "end_view_as_customer"]
    assert [row[0] for row in entries(url, second)] == ["view_as_customer"]


async def test_view_needs_a_signed_in_staff_member_a_reason_and_an_account(
    services: Services,
) -> None:
    now, database = datetime.now(UTC), services.database
    holder, who = organization(database.url, 10), colleague(services)
    customer = person(database.url)
    customers_token = session_token(database.url, customer.user_id)
    before = counts(database.url)

    async def attempt(actor: Any, token: str, account_id: str, reason: str = REASON) -> None:
        await begin_view(database, actor, token, account_id, reason=reason, now=now)

    with pytest.raises(ForbiddenError):
        await attempt(customer, customers_token, holder.account_id)
    with pytest.raises(ForbiddenError):
        await attempt(who.actor, customers_token, holder.account_id)
    with pytest.raises(ForbiddenError):
        await attempt(StaffActor("key:1", "Key", StaffRole.ADMIN), who.token, holder.account_id)
    with pytest.raises(InvalidInputError):
        await attempt(who.actor, who.token, holder.account_id, reason="  ")
    for unknown in ("acc_nothing", ids.encode_account(1), ""):
        with pytest.raises(AccountNotFoundError):
            await attempt(who.actor, who.token, unknown)
    with pytest.raises(ForbiddenError):
        await end_view(database, customer, customers_token, now)
    assert counts(database.url) == before
