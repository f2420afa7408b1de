"""Who works here: adding, other roles, removing; the last admin stays."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.identity import sessions
from billing_app.billing.staff.access import members
from billing_app.billing.staff.access.members import LastAdminError, StaffMemberNotFoundError
from billing_app.composition import Services, build_services
from billing_app.db.enums import Scope, StaffRole
from billing_app.routes import SESSION_COOKIE
from billing_app.settings import Settings
from tests.api.server import ApiServer
from tests.conftest import server_environment
from tests.factories import (
    NOW,
    OPERATOR,
    api_key,
    connect,
    person,
    session_token,
    staff_key,
    staff_member,
)
from tests.processes import run_command
from tests.staff.conftest import Staff

Browser = Callable[[str], httpx.Client]
WHY = "The team grows"


def entries(url: str, subject: str) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return connection.execute(
            "SELECT action, actor_name, role, reason, before ->> 'role', after ->> 'role'"
            " FROM audit_entries WHERE subject = %s ORDER BY id",
            [subject],
        ).fetchall()


async def test_adding_changing_and_removing_members_is_audited(
    staff_services: Services, staff: Staff, staff_url: str
) -> None:
    admin = staff[StaffRole.ADMIN]
    ada = person(staff_url)
    assert await members.staff_actor(staff_services.database, ada) is None
    added = await members.add_member(
        staff_services.database,
        admin,
        email=ada.email.upper(),
        role=StaffRole.SUPPORT,
        reason=WHY,
        now=NOW,
    )
    assert (added.user_id, added.password) == (ada.user_id, None)
    assert await members.staff_actor(staff_services.database, ada) == StaffActor(
        ada.user_id, ada.name, StaffRole.SUPPORT
    )
    about = {"user_id": ada.user_id, "reason": WHY, "now": NOW}
    await members.change_role(staff_services.database, admin, role=StaffRole.BILLING, **about)
    listed = {m.user_id: m.role for m in await members.list_members(staff_services.database, admin)}
    assert listed[ada.user_id] is StaffRole.BILLING
    await members.remove_member(staff_services.database, admin, **about)
    assert await members.staff_actor(staff_services.database, ada) is None
    with pytest.raises(StaffMemberNotFoundError):
        await members.remove_member(staff_services.database, admin, **about)
    assert entries(staff_url, ada.email.upper()) == [
        ("add_staff", admin.name, "admin", WHY, None, "support")
    ]
    assert entries(staff_url, ada.email) == [
        ("change_role", admin.name, "admin", WHY, "support", "billing"),
        ("remove_staff", admin.name, "admin", WHY, "billing", None),
    ]


async def test_unknown_address_becomes_a_user_who_can_sign_in(staff_services: Services) -> None:
    added = await members.add_member(
        staff_services.database,
        OPERATOR,
        email="new@our.house",
        role=StaffRole.BILLING,
        reason=WHY,
        now=NOW,
    )
    assert added.password is not None
    signed_in = await sessions.sign_in(
        staff_services.database,
        email="New@our.house",
        password=added.password,
        user_agent="",
        session_days=1,
        now=NOW,
    )
    assert signed_in.user_id == added.user_id


async def test_last_admin_cannot_be_removed(own_database_url: str, settings: Settings) -> None:
    services = build_services(settings, own_database_url)
    first, second = (staff_member(own_database_url, StaffRole.ADMIN) for _ in range(2))

    async def remove(actor: StaffActor, who: StaffActor) -> None:
        await members.remove_member(
            services.database, actor, user_id=who.actor_id, reason=WHY, now=NOW
        )

    ended = await asyncio.gather(
        remove(first, second), remove(second, first), return_exceptions=True
    )
    assert [type(error) for error in ended if error] == [LastAdminError]
    left = await members.list_members(services.database, OPERATOR)
    assert len(left) == 1
    with pytest.raises(LastAdminError):
        await members.change_role(
            services.database,
            first,
            user_id=left[0].user_id,
            role=StaffRole.SUPPORT,
            reason=WHY,
            now=NOW,
        )
    with pytest.raises(LastAdminError):
        await members.add_member(
            services.database,
            first,
            email=left[0].email,
            role=StaffRole.SUPPORT,
            reason=WHY,
            now=NOW,
        )
    await services.close()


@pytest.mark.parametrize(
    ("reason", "refusal"),
    [
        ("", "Enter a reason"),
        ("   ", "Enter a reason"),
        ("x" * 501, "Enter a reason"),
        ("a\0b", "must not contain control characters"),
    ],
)
async def test_reason_is_required(
    staff_services: Services, staff: Staff, staff_url: str, reason: str, refusal: str
) -> None:
    ada = person(staff_url)
    with pytest.raises(InvalidInputError, match=refusal):
        await members.add_member(
            staff_services.database,
            staff[StaffRole.ADMIN],
            email=ada.email,
            role=StaffRole.ADMIN,
            reason=reason,
            now=NOW,
        )
    assert await members.staff_actor(staff_services.database, ada) is None


def test_over_http(browser_of: Browser, staff: Staff, staff_url: str) -> None:
    admin = browser_of(staff[StaffRole.ADMIN].actor_id)
    assert admin.get("/billing/admin/me").json()["role"] == "admin"
    email = "http@our.house"
    body = {"email": email, "role": "support", "reason": WHY}
    made = admin.post("/billing/admin/staff", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["password"]
    user_id = made.json()["user_id"]
    path = f"/billing/admin/staff/{user_id}"
    assert admin.put(path, json={"role": "billing", "reason": WHY}).status_code == 204
    assert email in {m["email"] for m in admin.get("/billing/admin/staff").json()["items"]}
    assert admin.post(f"{path}/remove", json={"reason": WHY}).status_code == 204
    assert admin.post(f"{path}/remove", json={"reason": WHY}).status_code == 404
    for bad in ({}, {"reason": ""}, {"reason": "  "}, {"reason": 5}, {"reason": WHY, "more": 1}):
        answer = admin.post(f"{path}/remove", json=bad)
        assert answer.status_code == 422, bad
        assert answer.headers["content-type"] == "application/problem+json"
    assert [row[0] for row in entries(staff_url, email)] == [
        "add_staff",
        "change_role",
        "remove_staff",
    ]


def test_removed_member_is_refused_immediately(browser_of: Browser, staff_url: str) -> None:
    leaving = staff_member(staff_url, StaffRole.SUPPORT)
    browser = browser_of(leaving.actor_id)
    assert browser.get("/billing/admin/me").status_code == 200
    with connect(staff_url) as connection:
        connection.execute(
            "UPDATE staff_members SET removed_at = now() WHERE user_id = %s", [leaving.actor_id]
        )
    assert browser.get("/billing/admin/me").status_code == 403


def test_key_has_the_role_it_was_created_with(staff_server: ApiServer, staff_url: str) -> None:
    def me(secret: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.get(f"{staff_server.url}/billing/admin/me", headers=headers)

    found = me(staff_key(staff_url, StaffRole.BILLING)).json()
    assert (found["role"], found["actor_id"][:4]) == ("billing", "key:")
    assert me(api_key(staff_url, Scope.EXECUTIONS)).json()["code"] == "scope_missing"
    assert me(api_key(staff_url, Scope.STAFF)).status_code == 403
    assert me("bil_nobody").status_code == 401
    command = ("keys", "create", "--name", "n", "--scope", "staff", "--platform")
    environment = server_environment(staff_url)
    made = run_command(environment, *command)
    assert me(made.stdout.strip()).json()["role"] == "billing"
    made = run_command(environment, *command, "--role", "support")
    assert me(made.stdout.strip()).json()["role"] == "support"
    wrong = ("keys", "create", "--name", "n", "--scope", "executions", "--platform")
    assert run_command(environment, *wrong, "--role", "admin").returncode == 2


def test_the_command_line(own_database_url: str) -> None:
    environment = server_environment(own_database_url)
    added = run_command(environment, "staff", "add", "a@our.house", "--role", "admin")
    assert added.returncode == 0, added.stderr
    assert len(added.stdout.split()) == 1
    again = run_command(environment, "staff", "add", "a@our.house", "--role", "admin")
    assert (again.returncode, again.stdout) == (0, "")
    assert "a@our.house  admin" in run_command(environment, "staff", "list").stdout
    alone = run_command(environment, "staff", "remove", "a@our.house")
    assert (alone.returncode, "last admin" in alone.stderr.lower()) == (2, False)
    assert run_command(environment, "staff", "add", "b@our.house", "--role", "admin").stdout
    assert run_command(environment, "staff", "remove", "a@our.house").returncode == 0
    assert run_command(environment, "staff", "remove", "a@our.house").returncode == 2
    assert "a@our.house" not in run_command(environment, "staff", "list").stdout
    assert len(entries(own_database_url, "a@our.house")) == 3


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Origin": "https://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_other_sites_cannot_act_through_a_browser(
    browser_of: Browser, staff: Staff, headers: dict[str, str], status: int
) -> None:
    admin = browser_of(staff[StaffRole.ADMIN].actor_id)
    body = {"email": f"{status}@our.house", "role": "support", "reason": WHY}
    if not headers.get("Origin", "x"):
        del admin.headers["Origin"]
        headers = {}
    answer = admin.post("/billing/admin/staff", json=body, headers=headers)
    assert answer.status_code == status


def test_other_sites_cannot_act_for_a_customer(staff_server: ApiServer, staff_url: str) -> None:
    cookies = {SESSION_COOKIE: session_token(staff_url, person(staff_url).user_id)}
    for method, path in (
        ("POST", "/billing/subscriptions"),
        ("PUT", "/billing/subscriptions/sub_1"),
        ("DELETE", "/billing/subscriptions/sub_1"),
        ("POST", "/billing/portal-sessions"),
    ):
        with httpx.Client(base_url=staff_server.url, cookies=cookies) as client:
            assert client.request(method, path, json={}).json()["code"] == "cross_site_post"
            own = {"Origin": staff_server.url}
            answer = client.request(method, path, json={}, headers=own)
            assert answer.json()["code"] != "cross_site_post"
