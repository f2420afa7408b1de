"""Portal links: single use, one account, one role, ended by staff."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from billing_app.db.enums import Scope, StaffRole
from tests.api.bad_input.refusals import refused
from tests.api.server import ApiServer
from tests.conftest import PUBLIC
from tests.factories import Holder, api_key, connect, organization, person, staff_key

LINKS = "/billing/portal-links"
ORIGIN = "http://billing.test"
PRODUCT = "https://app.acme.test"
RETURN_URL = f"{PRODUCT}/settings?tab=billing"


@pytest.fixture(scope="module")
def portal(api_database_url: str, offers: None) -> Iterator[ApiServer]:
    """An API that knows where people may go back to."""
    started = ApiServer(api_database_url)
    started.environment |= {
        "PORTAL_RETURN_ORIGINS": f"{PRODUCT}, https://other.test:8443",
        "PORTAL_FRAME_ORIGINS": PRODUCT,
    }
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def maker(portal: ApiServer, api_database_url: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {api_key(api_database_url, Scope.ACCOUNTS)}"}
    with httpx.Client(base_url=portal.url, headers=headers, timeout=20) as client:
        yield client


@pytest.fixture
def holder(api_database_url: str) -> Holder:
    return organization(api_database_url, 10)


def ask(maker: httpx.Client, organization_id: str, **more: Any) -> httpx.Response:
    body: dict[str, Any] = {
        "organization_id": organization_id,
        "person": {"id": "u-7", "email": "ada@acme.test", "name": "Ada"},
        "role": "owner",
        "return_url": RETURN_URL,
    }
    return maker.post(LINKS, json=body | more)


def link_of(maker: httpx.Client, holder: Holder, **more: Any) -> str:
    response = ask(maker, holder.organization_id, **more)
    assert response.status_code == 200, response.text
    return response.json()["url"]


def browser(portal: ApiServer) -> httpx.Client:
    return httpx.Client(base_url=portal.url, headers={"Origin": ORIGIN}, timeout=20)


def opened(client: httpx.Client, url: str, **form: str) -> httpx.Response:
    """What the page of the link does at once."""
    shown = client.get(urlsplit(url).path)
    assert shown.status_code == 200
    token = url.rpartition("/")[2]
    assert token in shown.text
    response = client.post(f"{LINKS}/open", data={"token": token} | form)
    cookie = response.headers.get("set-cookie", "")
    if "billing_session=" in cookie:
        # httpx keeps no Domain-less cookie of a test server on 127.0.0.1 when it is Secure.
        client.cookies.set("billing_session", cookie.partition("=")[2].partition(";")[0])
    return response


def test_opens_the_account_in_the_role(
    portal: ApiServer, maker: httpx.Client, holder: Holder
) -> None:
    response = ask(maker, holder.organization_id, page="usage", expires_in_seconds=60)
    assert response.json()["url"].startswith(f"{ORIGIN}{LINKS}/")
    assert datetime.fromisoformat(response.json()["expires_at"]).tzinfo is not None
    with browser(portal) as ada:
        answer = opened(ada, response.json()["url"])
        assert (answer.status_code, answer.headers["location"]) == (303, "/usage")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "SameSite=lax" in answer.headers["set-cookie"]
        current = ada.get("/billing/plans/current")
        assert current.json()["account_id"] == holder.account_id


def test_following_a_link_changes_nothing(
    portal: ApiServer, maker: httpx.Client, holder: Holder
) -> None:
    url = link_of(maker, holder)
    with browser(portal) as scanner:
        for _ in range(3):
            shown = scanner.get(urlsplit(url).path)
            assert "set-cookie" not in shown.headers
    policy = shown.headers["content-security-policy"]
    assert f"frame-ancestors {PRODUCT}" in policy
    assert "script-src 'sha256-" in policy
    with browser(portal) as ada:
        assert opened(ada, url).headers["location"] == "/"


def test_works_once(portal: ApiServer, maker: httpx.Client, holder: Holder) -> None:
    url = link_of(maker, holder)
    with browser(portal) as ada, browser(portal) as other:
        opened(ada, url)
        again = opened(other, url)
        assert again.headers["location"] == "/sign-in?error=portal_link_expired"
        assert "set-cookie" not in again.headers
        assert ada.get("/billing/plans/current").status_code == 200


def test_of_many_browsers_at_once_one_gets_in(
    portal: ApiServer, maker: httpx.Client, holder: Holder
) -> None:
    token = link_of(maker, holder).rpartition("/")[2]

    def post(_: int) -> str:
        with browser(portal) as one:
            return one.post(f"{LINKS}/open", data={"token": token}).headers["location"]

    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(post, range(8)))
    assert sorted(places) == ["/"] + ["/sign-in?error=portal_link_expired"] * 7


def test_late_or_unknown(
    portal: ApiServer, maker: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    url = link_of(maker, holder)
    with connect(api_database_url) as connection:
        connection.execute(
            "UPDATE portal_links SET expires_at = now() WHERE account_id = %s",
            [holder.account_number],
        )
    with browser(portal) as ada:
        for each in (url, f"{ORIGIN}{LINKS}/{secrets.token_urlsafe(32)}", f"{ORIGIN}{LINKS}/x"):
            assert opened(ada, each).headers["location"] == "/sign-in?error=portal_link_expired"


def test_other_sites_cannot_open_a_link(
    portal: ApiServer, maker: httpx.Client, holder: Holder
) -> None:
    token = link_of(maker, holder).rpartition("/")[2]
    for origin in ({}, {"Origin": "https://evil.test"}, {"Origin": "null"}):
        response = httpx.post(
            f"{portal.url}{LINKS}/open", data={"token": token}, headers=origin, timeout=20
        )
        refused(response, 403, "cross_site_post")


def test_hash_alone_is_stored(maker: httpx.Client, holder: Holder, api_database_url: str) -> None:
    token = link_of(maker, holder).rpartition("/")[2]
    with connect(api_database_url) as connection:
        rows = connection.execute(
            "SELECT l::text FROM portal_links AS l WHERE account_id = %s", [holder.account_number]
        ).fetchall()
    assert len(rows) == 1
    assert token not in rows[0][0]
    assert token.encode().hex() not in rows[0][0]


def test_session_sees_its_account_only(
    portal: ApiServer, maker: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    """Also when the person's ID is that of somebody who may see more."""
    other = organization(api_database_url, 10)
    stranger = person(api_database_url)
    with connect(api_database_url) as connection:
        connection.execute(
            "INSERT INTO memberships (organization_id, user_id, role, created_at)"
            " VALUES (%s, %s, 'owner', now())",
            [other.organization_id, stranger.user_id],
        )
        connection.execute(
            "INSERT INTO staff_members (user_id, role, added_at) VALUES (%s, 'admin', now())",
            [stranger.user_id],
        )
    url = link_of(maker, holder, person={"id": stranger.user_id})
    with browser(portal) as client:
        opened(client, url)
        refused(
            client.get("/billing/plans/current", params={"organization_id": other.organization_id}),
            404,
            "organization_not_found",
        )
        refused(
            client.get("/billing/plans/current", params={"account_id": other.account_id}),
            404,
            "account_not_found",
        )
        refused(client.get("/billing/admin/me"), 403, "forbidden")


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 200), ("billing_admin", 200), ("member", 403)]
)
def test_role_decides_what_can_be_changed(
    portal: ApiServer, maker: httpx.Client, holder: Holder, role: str, status: int
) -> None:
    with browser(portal) as client:
        opened(client, link_of(maker, holder, role=role))
        changed = client.put(
            "/billing/overage-limit",
            params={"organization_id": holder.organization_id},
            json={"limit_minor": 500, "currency": "USD"},
        )
        assert changed.status_code == status, changed.text
        assert client.get("/billing/plans/current").status_code == 200


def test_person_of_the_public_organization(
    portal: ApiServer, product: httpx.Client, maker: httpx.Client
) -> None:
    user_id = "person-" + secrets.token_hex(6)
    account_id = product.put(f"/billing/users/{user_id}", json={}).json()["account_id"]
    own = {"person": {"id": user_id}, "user_id": user_id}
    refused(ask(maker, PUBLIC, role="member", **own), 422, "invalid_input")
    url = ask(maker, PUBLIC, **own).json()["url"]
    with browser(portal) as client:
        opened(client, url)
        assert client.get("/billing/plans/current").json()["account_id"] == account_id


def test_signing_out_ends_the_session(
    portal: ApiServer, maker: httpx.Client, holder: Holder
) -> None:
    with browser(portal) as client:
        opened(client, link_of(maker, holder))
        client.post("/billing/session/delete")
        refused(client.get("/billing/plans/current"), 401, "not_authenticated")


def test_session_ends_after_a_day(
    portal: ApiServer, maker: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    with browser(portal) as client:
        opened(client, link_of(maker, holder))
        with connect(api_database_url) as connection:
            where = [holder.account_number]
            ((hours,),) = connection.execute(
                "SELECT extract(epoch FROM expires_at - created_at) / 3600 FROM portal_sessions"
                " WHERE account_id = %s",
                where,
            ).fetchall()
            assert hours == 24
            connection.execute(
                "UPDATE portal_sessions SET expires_at = now() WHERE account_id = %s", where
            )
        refused(client.get("/billing/plans/current"), 401, "not_authenticated")


def test_staff_list_and_end_sessions(
    portal: ApiServer, maker: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    path = f"/billing/admin/customers/{holder.account_id}/portal-sessions"
    headers = {"Authorization": f"Bearer {staff_key(api_database_url, StaffRole.SUPPORT)}"}
    with (
        browser(portal) as client,
        httpx.Client(base_url=portal.url, headers=headers, timeout=20) as staff,
    ):
        opened(client, link_of(maker, holder))
        (listed,) = staff.get(path).json()["items"]
        assert (listed["person_id"], listed["role"], listed["is_live"]) == ("u-7", "owner", True)
        body = {"person_id": "u-7", "reason": "Laptop lost"}
        assert staff.post(f"{path}/end", json=body).json() == {"sessions_ended": 1}
        refused(client.get("/billing/plans/current"), 401, "not_authenticated")
        assert staff.get(path).json()["items"] == []
        nobody = body | {"person_id": "u-8"}
        refused(staff.post(f"{path}/end", json=nobody), 404, "portal_person_not_found")
        entries = staff.get(f"/billing/admin/customers/{holder.account_id}/audit").json()["items"]
    assert [(each["action"], each["role"], each["subject"]) for each in entries] == [
        ("end_portal_sessions", "support", "u-7"),
        ("open_portal", "customer", "u-7"),
        ("create_portal_link", "service", "u-7"),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/",
        "https://app.acme.test.evil.test/",
        "https://app.acme.test@evil.test/",
        "http://app.acme.test/",
        "https://app.acme.test:444/",
        "//app.acme.test/",
        "/settings",
        "javascript:alert(1)",
        "https://app.acme.test\\@evil.test/",
        "https://app.acme.test/ x",
        "https://[app/",
        "",
    ],
)
def test_return_url_elsewhere(maker: httpx.Client, holder: Holder, url: str) -> None:
    problem = refused(ask(maker, holder.organization_id, return_url=url), 422, "invalid_input")
    assert problem["field"] == "return_url"


@pytest.mark.parametrize(
    "body",
    [
        {"role": "admin"},
        {"page": "staff"},
        {"expires_in_seconds": 29},
        {"expires_in_seconds": 3_601},
        {"person": {"id": ""}},
        {"person": {"id": "a\tb"}},
        {"person": {"id": "a\x85b"}},
        {"person": {"id": "x" * 256}},
        {"person": {"id": "u", "name": "x" * 256}},
        {"person": {"id": "u", "email": "nobody"}},
        {"person": {"id": "u", "mail": "a@b.test"}},
        {"person": "u"},
        {"return": RETURN_URL},
    ],
)
def test_bad_member(maker: httpx.Client, holder: Holder, body: dict[str, Any]) -> None:
    refused(ask(maker, holder.organization_id, **body), 422, "invalid_input")


def test_without_the_setting_there_are_no_links(product: httpx.Client, holder: Holder) -> None:
    refused(ask(product, holder.organization_id), 422, "invalid_input")


def test_scope_and_organization_of_the_key(
    portal: ApiServer, maker: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    refused(ask(maker, "nowhere"), 404, "organization_not_found")
    bound = api_key(api_database_url, Scope.ACCOUNTS, organization_id=holder.organization_id)
    other = organization(api_database_url)
    reader = api_key(api_database_url, Scope.PLANS_READ)
    for secret, organization_id, status in (
        (bound, holder.organization_id, 200),
        (bound, other.organization_id, 403),
        (reader, holder.organization_id, 403),
    ):
        headers = {"Authorization": f"Bearer {secret}"}
        with httpx.Client(base_url=portal.url, headers=headers, timeout=20) as client:
            assert ask(client, organization_id).status_code == status


def test_cookie_in_a_frame_of_another_site(
    api_database_url: str, maker: httpx.Client, holder: Holder
) -> None:
    server = ApiServer(api_database_url)
    server.environment |= {
        "PUBLIC_URL": "https://billing.test",
        "PORTAL_RETURN_ORIGINS": PRODUCT,
    }
    server.start()
    try:
        token = link_of(maker, holder).rpartition("/")[2]
        response = httpx.post(
            f"{server.url}{LINKS}/open",
            data={"token": token, "embed": "1"},
            headers={"Origin": "https://billing.test"},
            timeout=20,
        )
    finally:
        server.stop()
    assert response.headers["location"] == "/?embed=1"
    attributes = set(response.headers["set-cookie"].split("; ")[1:])
    assert {"HttpOnly", "SameSite=None", "Secure", "Partitioned"} <= attributes
