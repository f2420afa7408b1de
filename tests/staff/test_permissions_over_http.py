"""Each route of the staff over HTTP: by each role, by nobody, and with what is wrong or unknown."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from billing_app.billing.staff.access.permissions import Action
from billing_app.composition import Services
from billing_app.db.enums import Scope, StaffRole
from billing_app.routes import SESSION_COOKIE
from tests.api.server import ApiServer
from tests.factories import api_key, person, staff_key
from tests.staff.conftest import Staff
from tests.staff.permission_cases import LEAST, allows
from tests.staff.permission_scene import Scene, make_scene
from tests.staff.routes import address_of, routes_of
from tests.staff.transactions import Transactions

Browser = Callable[[str], httpx.Client]
PREFIX = "/billing/admin"


@pytest.fixture
async def scene(staff_services: Services, staff_url: str) -> Scene:
    return await make_scene(staff_services, person(staff_url).user_id)


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
    staff_services: Services,
    staff_url: str,
    staff: Staff,
    browser_of: Browser,
    staff_server: ApiServer,
) -> None:
    scene = await make_scene(staff_services, person(staff_url).user_id)
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


async def test_viewing_session_reads_and_changes_nothing_over_http(
    staff_services: Services, staff_url: str, staff: Staff, staff_server: ApiServer
) -> None:
    scene = await make_scene(staff_services, person(staff_url).user_id)
    routes, before = routes_of(scene), None
    for role in StaffRole:
        with httpx.Client(
            base_url=staff_server.url,
            headers={"Origin": staff_server.url},
            cookies={SESSION_COOKIE: await scene.viewing_token(staff[role])},
            timeout=30,
        ) as viewer:
            before = before or Transactions(staff_url)
            for route, (action, _) in routes.items():
                answer = send(viewer, scene, route)
                if action is Action.READ:
                    assert answer.status_code not in {401, 403, 422, 500}, (route, answer.text)
                else:
                    assert answer.status_code == 403, (route, answer.text)
                    assert answer.json()["code"] == "read_only", route
    assert before is not None
    assert set(Transactions(staff_url).new_since(before)) <= {
        "sessions",
        "staff_views",
        "audit_entries",
    }


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


def test_other_callers_are_refused_over_http(
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
    assert set(changed) <= {"sessions", "api_keys"}  # when a key was last used


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


def test_unknown_ids_are_404(staff: Staff, browser_of: Browser) -> None:
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


def test_over_limit_problem_has_the_limit(scene: Scene, staff: Staff, browser_of: Browser) -> None:
    support = browser_of(staff[StaffRole.SUPPORT].actor_id)
    path = f"{PREFIX}/accounts/{scene.customer.id}/grants"
    answer = support.post(path, json={"executions": 1_001, "reason": "why"})
    assert answer.status_code == 403
    problem = answer.json()
    assert (problem["code"], problem["limit_executions"]) == ("over_role_limit", 1_000)


def test_repair_and_undo_over_http(scene: Scene, staff: Staff, browser_of: Browser) -> None:
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
        ("Undone: 11 executions granted", "By mistake", "Support"),
        ("11 executions granted", "They waited", "Support"),
    ]
    assert staff[StaffRole.BILLING].name not in seen.text
