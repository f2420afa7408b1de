"""Each role, each action, one's own account and others'; and no change without an audit entry."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing.accounts.service import ReadOnlyError
from billing_app.billing.actors import Actor, ServiceActor, UserActor, ViewingActor
from billing_app.billing.errors import (
    AccountNotFoundError,
    BillingError,
    ForbiddenError,
    ScopeMissingError,
)
from billing_app.billing.staff.access.permissions import (
    WHILE_VIEWING,
    Action,
    OwnAccountError,
    StaffRoleMissingError,
)
from billing_app.billing.staff.repairs.registry import BY_NAME
from billing_app.composition import Services
from billing_app.db.enums import AccountKind, Scope, StaffRole
from tests.factories import connect, person, staff_member
from tests.staff.conftest import Staff
from tests.staff.permission_cases import CASES, LEAST, Case, allows, functions_of_staff
from tests.staff.permission_scene import Scene, make_scene
from tests.staff.repair_cases import REPAIR_CASES
from tests.staff.transactions import Transactions

names = pytest.mark.parametrize("name", CASES)


async def outcome(case: Case, scene: Scene, actor: Actor) -> type[BillingError] | None:
    """The error that refused; None when the actor was let in, whatever came of it."""
    try:
        await case.call(scene, actor)
    except (ForbiddenError, AccountNotFoundError) as error:
        return type(error)
    except BillingError:
        return None
    return None


def test_every_function_of_staff_has_a_case() -> None:
    assert functions_of_staff() == {name.partition(" ")[0] for name in CASES}


def test_every_repair_has_a_case() -> None:
    assert set(REPAIR_CASES) == set(BY_NAME)


def test_every_action_has_a_least_role_and_the_limits_grow() -> None:
    assert {action: action.least for action in Action} == LEAST
    assert {case.action for case in CASES.values()} - {None} <= set(Action)


@pytest.fixture(scope="session")
async def others(staff_services: Services, staff_url: str) -> Scene:
    """For all cases: whoever is let in meets what earlier cases left, and that is no refusal."""
    return await make_scene(staff_services, person(staff_url).user_id)


@pytest.fixture(scope="session")
async def own(staff_services: Services, staff: Staff) -> dict[StaffRole, Scene]:
    return {role: await make_scene(staff_services, staff[role].actor_id) for role in StaffRole}


@names
async def test_each_role_on_own_and_other_accounts(
    staff: Staff, others: Scene, own: dict[StaffRole, Scene], name: str
) -> None:
    case = CASES[name]
    for role in StaffRole:
        actor = staff[role]
        is_allowed = case.action is None or allows(case.action, role)
        refused = None if is_allowed else StaffRoleMissingError
        assert await outcome(case, others, actor) is refused, (role, "others")
        if case.is_repair and is_allowed and role is not StaffRole.ADMIN:
            refused = OwnAccountError
        assert await outcome(case, own[role], actor) is refused, (role, "own")


@names
async def test_staff_who_view_an_account_change_nothing_anywhere(
    staff: Staff, others: Scene, name: str
) -> None:
    case = CASES[name]
    may_while_viewing = case.action is None or case.action in WHILE_VIEWING
    for role in StaffRole:
        viewer = replace(staff[role], is_viewing=True)
        refused = None if may_while_viewing else ReadOnlyError
        assert await outcome(case, others, viewer) is refused, role


@names
async def test_everyone_but_staff_is_refused(
    staff: Staff, staff_url: str, others: Scene, name: str
) -> None:
    """Holders, strangers, service keys of any scope, and staff who look as a customer."""
    case, scene = CASES[name], others
    stranger, admin = person(staff_url), staff[StaffRole.ADMIN]
    number, until = scene.customer.holder.account_number, datetime.now(UTC) + timedelta(hours=1)
    all_scopes = frozenset(str(scope) for scope in Scope)
    organization_id = scene.customer.holder.organization_id
    actors: dict[str, Actor] = {
        "owner": UserActor(scene.holder_id, "", ""),
        "stranger": stranger,
        "platform key": ServiceActor(1, all_scopes, None),
        "key with a role": ServiceActor(1, all_scopes, None, staff_role=StaffRole.ADMIN),
        "organization's key": ServiceActor(1, all_scopes, organization_id),
        "key without scopes": ServiceActor(1, frozenset(), None),
        "viewer": ViewingActor(admin, number, AccountKind.ORGANIZATION, "", until),
    }
    may_read_history = {"owner", "platform key", "key with a role", "organization's key", "viewer"}
    for who, actor in actors.items():
        refused: Any = ForbiddenError
        if case.action is None:
            refused = None if who in may_read_history else AccountNotFoundError
            refused = ScopeMissingError if who == "key without scopes" else refused
        elif case.action is Action.END_VIEW and who == "viewer":
            continue  # tests/billing/test_viewing.py: they end their own view
        assert await outcome(case, scene, actor) is refused, who


@names
async def test_change_and_audit_entry_share_a_transaction(
    staff_services: Services, staff_url: str, name: str
) -> None:
    case = CASES[name]
    scene = await make_scene(staff_services, person(staff_url).user_id)
    admin = staff_member(staff_url, StaffRole.ADMIN)
    if name == "viewing.end_view":
        token = await scene.viewing_token(admin)
        scene.viewing_token = _given(token)  # type: ignore[method-assign]
    elif name == "viewing.begin_view":
        token = scene.token(admin)
        scene.token = lambda _: token  # type: ignore[method-assign]
    before = Transactions(staff_url)
    try:
        await case.call(scene, admin)
    except BillingError:
        assert not case.changes
    after = Transactions(staff_url)
    changed = after.new_since(before)
    told = changed.pop("audit_entries", set())
    assert bool(told) is case.changes
    assert len(told) <= 1
    for table, transactions in changed.items():
        assert transactions <= told, table
    if after.lost_since(before):
        assert told
    if not case.changes:
        assert changed == {}


@names
async def test_entry_marks_own_account(staff_services: Services, staff_url: str, name: str) -> None:
    case = CASES[name]
    if not case.changes:
        return
    admin = staff_member(staff_url, StaffRole.ADMIN)
    for holder_id in (admin.actor_id, person(staff_url).user_id):
        scene = await make_scene(staff_services, holder_id)
        await case.call(scene, admin)
        with connect(staff_url) as connection:
            (entry,) = connection.execute(
                "SELECT account_id, own_account FROM audit_entries WHERE actor_id = %s"
                " ORDER BY id DESC LIMIT 1",
                [admin.actor_id],
            ).fetchall()
        account_id, own_account = entry
        assert own_account is (account_id is not None and holder_id == admin.actor_id)


def _given(token: str) -> Callable[[Actor], Any]:
    async def give(_: Actor) -> str:
        return token

    return give


@names
async def test_refused_action_changes_nothing(
    staff: Staff, staff_url: str, others: Scene, name: str
) -> None:
    case = CASES[name]
    if case.action is None or allows(case.action, StaffRole.SUPPORT):
        return
    before = Transactions(staff_url)
    with pytest.raises(StaffRoleMissingError):
        await case.call(others, staff[StaffRole.SUPPORT])
    assert Transactions(staff_url).found == before.found
