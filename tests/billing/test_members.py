"""Members: who may change whom, and there is always an owner."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_app.billing.accounts.members import (
    LastOwnerError,
    PersonalAccountError,
    change_role,
    leave,
    list_members,
    remove_member,
)
from billing_app.billing.actors import Actor, PortalActor, UserActor, ViewingActor
from billing_app.billing.errors import (
    AccountNotFoundError,
    BillingError,
    ForbiddenError,
    UserNotFoundError,
)
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.audit_writing import CustomerAction
from billing_app.composition import Services
from billing_app.db.enums import AccountKind, Role, StaffRole
from tests.factories import (
    Holder,
    connect,
    membership,
    organization,
    person,
    staff_member,
    trial,
)

ROLES = tuple(Role)


def now() -> datetime:
    return datetime.now(UTC)


def join(services: Services, holder: Holder, role: Role, name: str = "Ada") -> UserActor:
    somebody = person(services.database.url, name)
    membership(services.database.url, holder.organization_id, somebody.user_id, role)
    return somebody


def roles(services: Services, holder: Holder) -> dict[str, str]:
    with connect(services.database.url) as connection:
        rows = connection.execute(
            "SELECT user_id, role FROM memberships WHERE organization_id = %s",
            [holder.organization_id],
        ).fetchall()
    return dict(rows)


async def test_everybody_sees_who_belongs_page_by_page(services: Services) -> None:
    holder = organization(services.database.url)
    people = [join(services, holder, role, f"P{role}") for role in (*ROLES, *ROLES)]
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await list_members(
            services.database, people[-1], holder.account_id, limit=2, cursor=cursor
        )
        found += [view.user_id for view in page.items]
        assert not any(view.may_change for view in page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [each.user_id for each in people]
    with pytest.raises(AccountNotFoundError):
        await list_members(services.database, person(services.database.url), holder.account_id)


@pytest.mark.parametrize("own", [*ROLES, None])
@pytest.mark.parametrize("before", ROLES)
@pytest.mark.parametrize("after", [*ROLES, None])
async def test_who_may_give_which_role(
    services: Services, own: Role | None, before: Role, after: Role | None
) -> None:
    """None: not a member, and no longer one."""
    holder = organization(services.database.url)
    join(services, holder, Role.OWNER, "Another owner")
    other = join(services, holder, before, "Other")
    actor = join(services, holder, own) if own else person(services.database.url)

    async def act() -> None:
        database, account_id = services.database, holder.account_id
        if after is None:
            await remove_member(database, actor, account_id, other.user_id, now())
        else:
            await change_role(database, actor, account_id, other.user_id, after, now())

    may = own is Role.OWNER or (own is Role.BILLING_ADMIN and Role.OWNER not in (before, after))
    if may:
        await act()
        assert roles(services, holder).get(other.user_id) == after
        return
    refusal = AccountNotFoundError if own is None else ForbiddenError
    with pytest.raises(refusal):
        await act()
    assert roles(services, holder)[other.user_id] == before


async def test_others_than_people_who_sign_in_change_nobody(services: Services) -> None:
    url = services.database.url
    holder = organization(url)
    other = join(services, holder, Role.MEMBER)
    staff = staff_member(url, StaffRole.ADMIN)
    number, account_id = holder.account_number, holder.account_id
    actors: tuple[Actor, ...] = (
        PortalActor("p", "P", "", number, Role.OWNER, "https://app.example"),
        ViewingActor(staff, number, AccountKind.ORGANIZATION, "Acme", now()),
        staff,
    )
    database = services.database
    for actor in actors:
        assert len((await list_members(database, actor, account_id)).items) == 1
        for act in (
            lambda actor=actor: change_role(
                database, actor, account_id, other.user_id, Role.BILLING_ADMIN, now()
            ),
            lambda actor=actor: remove_member(database, actor, account_id, other.user_id, now()),
            lambda actor=actor: leave(database, actor, account_id, now()),
        ):
            with pytest.raises(ForbiddenError):
                await act()
    assert roles(services, holder) == {other.user_id: "member"}


async def test_last_owner_stays(services: Services) -> None:
    holder = organization(services.database.url)
    owner = join(services, holder, Role.OWNER)
    join(services, holder, Role.BILLING_ADMIN)
    database, account_id = services.database, holder.account_id
    for act in (
        leave(database, owner, account_id, now()),
        remove_member(database, owner, account_id, owner.user_id, now()),
        change_role(database, owner, account_id, owner.user_id, Role.MEMBER, now()),
    ):
        with pytest.raises(LastOwnerError):
            await act
    assert roles(services, holder)[owner.user_id] == "owner"


async def test_two_owners_who_leave_at_once_do_not_both(services: Services) -> None:
    holder = organization(services.database.url)
    owners = [join(services, holder, Role.OWNER) for _ in range(2)]
    outcomes = await asyncio.gather(
        *(leave(services.database, owner, holder.account_id, now()) for owner in owners),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["LastOwnerError", "NoneType"]
    assert list(roles(services, holder).values()) == ["owner"]


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    acts=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([*ROLES, None])),
        min_size=4,
        max_size=12,
    )
)
async def test_there_is_always_an_owner(
    services: Services, acts: list[tuple[int, int, Role | None]]
) -> None:
    holder = organization(services.database.url)
    people = [join(services, holder, Role.OWNER) for _ in range(4)]
    database, account_id = services.database, holder.account_id

    async def act(by: int, whom: int, role: Role | None) -> None:
        actor, user_id = people[by], people[whom].user_id
        if by == whom and role is None:
            await leave(database, actor, account_id, now())
        elif role is None:
            await remove_member(database, actor, account_id, user_id, now())
        else:
            await change_role(database, actor, account_id, user_id, role, now())

    for start in range(0, len(acts), 4):
        together = (act(*each) for each in acts[start : start + 4])
        outcomes = await asyncio.gather(*together, return_exceptions=True)
        assert all(each is None or isinstance(each, BillingError) for each in outcomes), outcomes
        assert "owner" in roles(services, holder).values()


async def test_who_was_removed_sees_nothing(services: Services) -> None:
    holder = organization(services.database.url)
    owner, member = join(services, holder, Role.OWNER), join(services, holder, Role.MEMBER)
    database, account_id = services.database, holder.account_id
    await remove_member(database, owner, account_id, member.user_id, now())
    with pytest.raises(AccountNotFoundError):
        await list_members(database, member, account_id)
    for act in (
        remove_member(database, owner, account_id, member.user_id, now()),
        change_role(database, owner, account_id, member.user_id, Role.OWNER, now()),
    ):
        with pytest.raises(UserNotFoundError):
            await act


async def test_personal_account_has_no_members(services: Services) -> None:
    ada = person(services.database.url)
    own = trial(services.database.url, ada.user_id, 5)
    database, at = services.database, now() + timedelta()
    for act in (
        list_members(database, ada, own.account_id),
        remove_member(database, ada, own.account_id, ada.user_id, at),
        leave(database, ada, own.account_id, at),
    ):
        with pytest.raises(PersonalAccountError):
            await act


async def test_history_says_whose_role_changed(services: Services) -> None:
    holder = organization(services.database.url)
    owner, member = join(services, holder, Role.OWNER), join(services, holder, Role.MEMBER)
    await change_role(
        services.database, owner, holder.account_id, member.user_id, Role.BILLING_ADMIN, now()
    )
    with connect(services.database.url) as connection:
        entries = connection.execute(
            "SELECT action, actor_id, before, after FROM audit_entries WHERE account_id = %s",
            [holder.account_number],
        ).fetchall()
    before, after = f"{member.email}: member", f"{member.email}: billing admin"
    assert entries == [("change_member_role", owner.user_id, {"role": before}, {"role": after})]


def test_customers_actions_are_not_called_like_those_of_staff() -> None:
    """One table words both: the same value would word a change of a staff role as a member's."""
    assert not {action.value for action in CustomerAction} & {action.value for action in Action}
