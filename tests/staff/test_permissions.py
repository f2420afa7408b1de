"""Each role, each action, on one's own account and others', signed out: over services and HTTP;
and that nothing changes without its entry in the audit log."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from billing_app.billing.actors import Actor, ServiceActor, UserActor, ViewingActor
from billing_app.billing.errors import (
    AccountNotFoundError,
    BillingError,
    ForbiddenError,
    ScopeMissingError,
)
from billing_app.billing.staff.permissions import (
    LEAST,
    RANKS,
    Action,
    OwnAccountError,
    StaffRoleMissingError,
)
from billing_app.composition import Services
from billing_app.db.words import AccountKind, Scope, StaffRole
from tests.api.server import ApiServer
from tests.factories import api_key, connect, person, staff_key, staff_member
from tests.staff.cases import (
    CASES,
    Case,
    functions_of_staff,
)
from tests.staff.conftest import Staff
from tests.staff.routes import address_of, routes_of
from tests.staff.scene import Scene, make_scene

Browser = Callable[[str], httpx.Client]
PREFIX = "/billing/admin"
names = pytest.mark.parametrize("name", CASES)


def allows(action: Action, role: StaffRole) -> bool:
    return RANKS[role] >= RANKS[LEAST[action]]


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
    assert functions_of_staff() == set(CASES)


def test_every_action_has_a_least_role_and_the_limits_grow() -> None:
    assert set(LEAST) == set(Action)
    assert {case.action for case in CASES.values()} - {None} <= set(Action)


@pytest.fixture(scope="session")
async def others(house: Services, staff_url: str) -> Scene:
    """For all cases: whoever is let in meets what earlier cases left, and that is no refusal."""
    return await make_scene(house, person(staff_url).user_id)


@pytest.fixture(scope="session")
async def own(house: Services, staff: Staff) -> dict[StaffRole, Scene]:
    return {role: await make_scene(house, staff[role].actor_id) for role in StaffRole}


@names
async def test_staff(staff: Staff, others: Scene, own: dict[StaffRole, Scene], name: str) -> None:
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
async def test_others(staff: Staff, staff_url: str, others: Scene, name: str) -> None:
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


class Transactions:
    """Which transactions wrote the rows that are there, by table; and how many rows there are."""

    def __init__(self, url: str) -> None:
        with connect(url) as connection:
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r'"
                " AND relnamespace = 'public'::regnamespace"
            ).fetchall()
            self.found: dict[str, dict[str, int]] = {
                table: dict(_count_by_transaction(connection, table)) for (table,) in tables
            }

    def new_since(self, before: "Transactions") -> dict[str, set[str]]:
        return {
            table: set(rows) - set(before.found[table])
            for table, rows in self.found.items()
            if set(rows) - set(before.found[table])
        }

    def lost_since(self, before: "Transactions") -> set[str]:
        return {
            table
            for table, rows in self.found.items()
            if sum(rows.values()) < sum(before.found[table].values())
        }


def _count_by_transaction(connection: Any, table: str) -> list[tuple[str, int]]:
    query = f'SELECT xmin::text, count(*) FROM "{table}" GROUP BY 1'  # noqa: S608
    return connection.execute(query).fetchall()


@names
async def test_nothing_changes_without_an_entry_in_the_same_transaction(
    house: Services, staff_url: str, name: str
) -> None:
    case = CASES[name]
    scene = await make_scene(house, person(staff_url).user_id)
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
async def test_an_entry_says_whether_the_account_was_their_own(
    house: Services, staff_url: str, name: str
) -> None:
    case = CASES[name]
    if not case.changes:
        return
    admin = staff_member(staff_url, StaffRole.ADMIN)
    for holder_id in (admin.actor_id, person(staff_url).user_id):
        scene = await make_scene(house, holder_id)
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
async def test_a_refusal_changes_nothing(
    staff: Staff, staff_url: str, others: Scene, name: str
) -> None:
    case = CASES[name]
    if case.action is None or allows(case.action, StaffRole.SUPPORT):
        return
    before = Transactions(staff_url)
    with pytest.raises(StaffRoleMissingError):
        await case.call(others, staff[StaffRole.SUPPORT])
    assert Transactions(staff_url).found == before.found


# Over HTTP


@pytest.fixture
async def scene(house: Services, staff_url: str) -> Scene:
    return await make_scene(house, person(staff_url).user_id)


def send(client: httpx.Client, scene: Scene, route: str) -> httpx.Response:
    body = routes_of(scene)[route][1]
    method = route.partition(" ")[0]
    return client.request(method, PREFIX + address_of(scene, route), json=body)


def test_every_route_of_staff_is_here(staff_server: ApiServer, scene: Scene) -> None:
    document = httpx.get(f"{staff_server.url}/billing/openapi.json").json()
    found = {
        f"{method.upper()} {path.removeprefix(PREFIX)}": operation
        for path, operations in document["paths"].items()
        if path.startswith(PREFIX)
        for method, operation in operations.items()
    }
    assert set(found) == set(routes_of(scene))
    for route, operation in found.items():
        assert {"401", "403", "404", "409", "422"} <= set(operation["responses"]), route


async def test_each_route_over_http(
    house: Services, staff_url: str, staff: Staff, browser_of: Browser, staff_server: ApiServer
) -> None:
    scene = await make_scene(house, person(staff_url).user_id)
    for route, (action, _) in routes_of(scene).items():
        for role in StaffRole:
            for client in _clients_of(role, staff, browser_of, staff_server, staff_url):
                answer = send(client, scene, route)
                if allows(action, role):
                    assert answer.status_code not in {401, 403, 422, 500}, (route, answer.text)
                else:
                    assert answer.status_code == 403, (route, role)
                    assert answer.json()["code"] == "staff_role_missing"
                    assert answer.json()["role_needed"] == LEAST[action]


def _clients_of(
    role: StaffRole,
    staff: Staff,
    browser_of: Browser,
    server: ApiServer,
    url: str,
) -> Iterator[httpx.Client]:
    yield browser_of(staff[role].actor_id)
    headers = {"Authorization": f"Bearer {staff_key(url, role)}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        yield client


def test_nobody_else_over_http(
    scene: Scene, staff_url: str, browser_of: Browser, staff_server: ApiServer
) -> None:
    def with_key(*scopes: Scope, organization_id: str | None = None) -> dict[str, str]:
        secret = api_key(staff_url, *scopes, organization_id=organization_id)
        return {"Authorization": f"Bearer {secret}"}

    organization_id = scene.customer.holder.organization_id
    keys = [
        with_key(Scope.EXECUTIONS, Scope.PLANS_READ, Scope.SUBSCRIPTIONS),
        with_key(Scope.STAFF),
        with_key(Scope.STAFF, organization_id=organization_id),
    ]
    before = Transactions(staff_url)
    for route in routes_of(scene):
        with httpx.Client(base_url=staff_server.url, timeout=30) as anyone:
            answer = send(anyone, scene, route)
            assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated"), route
            assert answer.headers["content-type"] == "application/problem+json"
        for user_id in (scene.holder_id, scene.trial.user_id):
            assert send(browser_of(user_id), scene, route).status_code == 403, route
        for headers in keys:
            with httpx.Client(base_url=staff_server.url, headers=headers) as client:
                assert send(client, scene, route).status_code == 403, route
    changed = Transactions(staff_url).new_since(before)
    assert set(changed) <= {"sessions"}


def test_bad_bodies_change_nothing(scene: Scene, staff: Staff, browser_of: Browser) -> None:
    admin = browser_of(staff[StaffRole.ADMIN].actor_id)
    before = scene.customer.figures()
    for route, (_, body) in routes_of(scene).items():
        if body is None or route.endswith("preview"):
            continue
        method, address = route.partition(" ")[0], PREFIX + address_of(scene, route)
        without = {name: value for name, value in body.items() if name != "reason"}
        for bad in (without, {**body, "reason": " "}, {**body, "reason": "x" * 501}, [], "x"):
            answer = admin.request(method, address, json=bad)
            assert answer.status_code == 422, (route, bad)
            assert answer.json()["code"] == "invalid_input"
    account, plan = scene.customer.id, scene.customer.plan_id()
    why = {"reason": "why"}
    for address, body in (
        (f"accounts/{account}/grants", {"executions": -1}),
        (f"accounts/{account}/grants", {"executions": 0}),
        (f"accounts/{account}/grants", {"executions": 10**9 + 1}),
        (f"accounts/{account}/grants", {"executions": 10**40}),
        (f"accounts/{account}/grants", {"executions": 1.5}),
        (f"accounts/{account}/grants", {"executions": "5"}),
        (f"accounts/{account}/grants", {"executions": True}),
        (f"accounts/{account}/grants", {"executions": 5, "ends_at": "2020-01-01T00:00:00Z"}),
        (f"accounts/{account}/grants", {"executions": 5, "ends_at": "2030-01-01T00:00:00"}),
        (f"accounts/{account}/grants", {"executions": 5, "ends_at": "9999-12-31T23:59:59Z"}),
        (f"plans/{plan}/adjustments", {"executions": 0}),
        (f"plans/{plan}/adjustments", {"executions": -(10**30)}),
        (f"executions/{scene.event_id}/refund", {"executions": 8}),
        (f"accounts/{scene.trial.id}/trial", {}),
        (f"accounts/{scene.trial.id}/trial", {"executions": -5}),
        (f"accounts/{account}/refunds", {"workflow": "x"}),
        (
            f"accounts/{account}/refunds",
            {"workflow": "x", "since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        ),
        (
            f"accounts/{account}/refunds",
            {"workflow": "a\0b", "since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"},
        ),
    ):
        answer = admin.post(f"{PREFIX}/{address}", json={**why, **body})
        assert answer.status_code == 422, (address, body, answer.text)
    assert scene.customer.figures() == before


def test_what_is_unknown_is_404(staff: Staff, browser_of: Browser) -> None:
    admin = browser_of(staff[StaffRole.ADMIN].actor_id)
    nobody = "acc_" + "f" * 15 + "e"
    for address, body in (
        (f"accounts/{nobody}/grants", {"executions": 1}),
        (f"accounts/{nobody}/block", {}),
        (f"accounts/{nobody}/unblock", {}),
        (f"accounts/{nobody}/trial", {"executions": 1}),
        (f"accounts/{nobody}/offer", {"offer": "growth"}),
        ("accounts/x/grants", {"executions": 1}),
        ("plans/pln_x/pause", {}),
        ("plans/pln_" + "f" * 16 + "1/resume", {}),
        ("plans/pln_0000000000000001" + "1/adjustments", {"executions": 1}),
        ("executions/evt_x/refund", {}),
        ("audit/aud_fffffff/undo", {}),
        ("staff/usr_nobody/remove", {}),
    ):
        answer = admin.post(f"{PREFIX}/{address}", json={"reason": "why", **body})
        assert answer.status_code == 404, (address, answer.text)


def test_over_the_limit_says_the_limit(scene: Scene, staff: Staff, browser_of: Browser) -> None:
    support = browser_of(staff[StaffRole.SUPPORT].actor_id)
    path = f"{PREFIX}/accounts/{scene.customer.id}/grants"
    answer = support.post(path, json={"executions": 1_001, "reason": "why"})
    assert answer.status_code == 403
    problem = answer.json()
    assert (problem["code"], problem["limit_executions"]) == ("over_role_limit", 1_000)


def test_a_repair_and_its_undoing_over_http(
    scene: Scene, staff: Staff, browser_of: Browser
) -> None:
    billing = browser_of(staff[StaffRole.BILLING].actor_id)
    path = f"{PREFIX}/accounts/{scene.customer.id}/grants"
    headers = {"Idempotency-Key": scene.customer.id}
    body = {"executions": 11, "reason": "They waited"}
    made = billing.post(path, json=body, headers=headers)
    assert made.status_code == 200, made.text
    assert billing.post(path, json=body, headers=headers).json() == made.json()
    reused = billing.post(path, json={**body, "executions": 12}, headers=headers)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    undo_path = f"{PREFIX}/audit/{made.json()['id']}/undo"
    assert billing.post(undo_path, json={"reason": "By mistake"}).status_code == 200
    again = billing.post(undo_path, json={"reason": "By mistake"})
    assert (again.status_code, again.json()["code"]) == (409, "already_undone")
    params = {"account_id": scene.customer.id, "limit": 1}
    newest = billing.get(f"{PREFIX}/audit", params=params).json()
    assert newest["items"][0]["undoes"] == made.json()["id"]
    older = billing.get(f"{PREFIX}/audit", params={**params, "cursor": newest["next_cursor"]})
    assert older.json()["items"][0]["id"] == made.json()["id"]
    mine = {"actor": staff[StaffRole.BILLING].actor_id, "action": "grant_executions"}
    assert made.json()["id"] in {
        item["id"] for item in billing.get(f"{PREFIX}/audit", params=mine).json()["items"]
    }
    for wrong in ({"cursor": "x"}, {"limit": 0}, {"limit": 201}):
        assert billing.get(f"{PREFIX}/audit", params=wrong).status_code == 422
    owner = browser_of(scene.holder_id)
    seen = owner.get("/billing/account-history", params={"account_id": scene.customer.id})
    assert [(item["what"], item["reason"], item["by"]) for item in seen.json()["items"][:2]] == [
        ("Taken back: 11 executions granted", "By mistake", "Support"),
        ("11 executions granted", "They waited", "Support"),
    ]
    assert staff[StaffRole.BILLING].name not in seen.text
