"""An account's page part by part, page by page; and signing its people out."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from billing_app.billing import ids
from billing_app.billing.actors import StaffActor, UserActor
from billing_app.billing.errors import (
    AccountNotFoundError,
    ForbiddenError,
    InvalidInputError,
    UserNotFoundError,
)
from billing_app.billing.executions.requests import Mode
from billing_app.billing.identity import sessions
from billing_app.billing.lists.paging import Page
from billing_app.billing.staff.access import browser_sessions as staff_sessions
from billing_app.billing.staff.customers import account
from billing_app.composition import Services
from billing_app.db.enums import ReservationStatus, StaffRole
from billing_app.payments.dashboard import Dashboard
from tests.factories import (
    PLATFORM_SERVICE,
    Holder,
    api_key,
    check_request,
    connect,
    member,
    organization,
    session_token,
    staff_key,
)
from tests.payments.billing_harness import DAY, BillingHarness, look

NOW = datetime.now(UTC)
SUPPORT = StaffActor("usr_support", "Sam", StaffRole.SUPPORT)


@pytest.fixture
def holder(staff_url: str) -> Holder:
    return organization(staff_url, 100)


async def all_of(read: Callable[..., Any], **more: Any) -> list[Any]:
    """Every page, of two items each."""
    items: list[Any] = []
    cursor = None
    while True:
        page: Page[Any] = await read(limit=2, cursor=cursor, **more)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items


async def test_identity_shows_holder_and_figures(
    staff_services: Services, staff_url: str, holder: Holder
) -> None:
    for _ in range(5):
        member(staff_url, holder.organization_id)
    found = await account.read_identity(
        staff_services.database, staff_services.links, SUPPORT, holder.account_id, NOW
    )
    assert (found.row.account_id, found.row.name, found.people) == (holder.account_id, "Acme", 5)
    assert found.customer_url == ""

    async def read(**page: Any) -> Any:
        return await account.list_people(
            staff_services.database, SUPPORT, holder.account_id, **page
        )

    people = await all_of(read)
    assert len({person.user_id for person in people}) == 5


async def test_held_reservations_come_first(
    staff_services: Services, staff_url: str, holder: Holder
) -> None:
    for n in range(7):
        request = check_request(Mode.RESERVE, 1, f"r{n}", organization_id=holder.organization_id)
        await staff_services.executions.decide(PLATFORM_SERVICE, request)
    with connect(staff_url) as connection:
        numbers = [
            row[0]
            for row in connection.execute(
                "SELECT number FROM reservations WHERE account_id = %s ORDER BY number",
                [holder.account_number],
            ).fetchall()
        ]
        connection.execute(
            "UPDATE reservations SET status = 'released', settled_at = now() WHERE account_id = %s"
            " AND number = ANY(%s)",
            [holder.account_number, numbers[3:]],
        )

    async def read(**page: Any) -> Any:
        return await account.list_reservations(
            staff_services.database,
            SUPPORT,
            holder.account_id,
            now=NOW + timedelta(hours=2),
            **page,
        )

    found = await all_of(read)
    wanted = [*numbers[2::-1], *numbers[:2:-1]]
    assert [row.id for row in found] == [
        ids.encode(ids.RESERVATION, holder.account_number, number) for number in wanted
    ]
    assert [row.status for row in found] == [ReservationStatus.HELD] * 3 + [
        ReservationStatus.RELEASED
    ] * 4
    assert [row.is_overdue for row in found] == [True] * 3 + [False] * 4


async def test_keys_are_of_own_organization_only(
    staff_services: Services, staff_url: str, holder: Holder
) -> None:
    for _ in range(3):
        api_key(staff_url, organization_id=holder.organization_id)
    api_key(staff_url)

    async def read(**page: Any) -> Any:
        return await account.list_account_keys(
            staff_services.database, SUPPORT, holder.account_id, **page
        )

    found = await all_of(read)
    assert len(found) == 3
    assert [key.id for key in found] == sorted((key.id for key in found), reverse=True)


async def test_sign_out_ends_every_session(
    staff_services: Services, staff_url: str, holder: Holder
) -> None:
    user_id, other = (member(staff_url, holder.organization_id) for _ in range(2))
    tokens = [session_token(staff_url, user_id) for _ in range(3)]
    kept = session_token(staff_url, other)

    async def read(**page: Any) -> Any:
        return await staff_sessions.list_account_sessions(
            staff_services.database, SUPPORT, holder.account_id, now=NOW, **page
        )

    assert len(await all_of(read)) == 4
    ended = await staff_sessions.sign_out_person(
        staff_services.database,
        SUPPORT,
        holder.account_id,
        user_id=user_id,
        reason="Lost laptop",
        now=NOW,
    )
    assert ended == 3
    for token in tokens:
        assert await sessions.authenticate(staff_services.database, token, NOW) is None
    assert await sessions.authenticate(staff_services.database, kept, NOW) is not None
    assert [row.user_id for row in await all_of(read)] == [other]
    with connect(staff_url) as connection:
        entry = connection.execute(
            "SELECT action, subject, before, actor_id FROM audit_entries WHERE account_id = %s",
            [holder.account_number],
        ).fetchall()
    assert entry == [("sign_out_everywhere", user_id, {"sessions": 3}, SUPPORT.actor_id)]


async def test_sign_out_leaves_others_signed_in(
    staff_services: Services, staff_url: str, holder: Holder
) -> None:
    stranger = member(staff_url, organization(staff_url).organization_id)
    token = session_token(staff_url, stranger)
    rest: dict[str, Any] = {"reason": "Why not", "now": NOW}
    for user_id in (stranger, "usr_nobody"):
        with pytest.raises(UserNotFoundError):
            await staff_sessions.sign_out_person(
                staff_services.database, SUPPORT, holder.account_id, user_id=user_id, **rest
            )
    with pytest.raises(InvalidInputError):
        await staff_sessions.sign_out_person(
            staff_services.database,
            SUPPORT,
            holder.account_id,
            user_id=stranger,
            reason="",
            now=NOW,
        )
    person = UserActor(stranger, "", "")
    with pytest.raises(ForbiddenError):
        await staff_sessions.sign_out_person(
            staff_services.database, person, holder.account_id, user_id=stranger, **rest
        )
    assert await sessions.authenticate(staff_services.database, token, NOW) is not None


async def test_invoices_and_subscriptions_have_provider_links(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    harness.skip(32 * DAY)
    await harness.deliver()
    database, links = harness.services.database, harness.services.links
    (row,) = await account.list_subscriptions(database, links, SUPPORT, harness.holder.account_id)
    assert (row.offer.code, row.status, row.provider_url) == ("starter", "active", "")

    async def read(**page: Any) -> Any:
        return await account.list_account_invoices(
            database, links, SUPPORT, harness.holder.account_id, **page
        )

    invoices = await all_of(read)
    assert len(invoices) == 2
    for each in invoices:
        assert "Invoice" in look(each.provider_url)
    real = Dashboard("sk_test_x")
    who = await account.read_identity(
        database, real, SUPPORT, harness.holder.account_id, harness.now
    )
    assert who.customer_url.startswith("https://dashboard.stripe.com/test/customers/cus_")
    assert Dashboard("sk_live_x").invoice("in_1") == "https://dashboard.stripe.com/invoices/in_1"
    assert Dashboard(None).customer("cus_1") == ""


@pytest.mark.parametrize("account_id", ["acc_0000000000000001", "acc_x", "", "acc_" + "f" * 16])
async def test_unknown_account_is_not_found(staff_services: Services, account_id: str) -> None:
    for attempt in (
        account.read_identity(
            staff_services.database, staff_services.links, SUPPORT, account_id, NOW
        ),
        account.list_people(staff_services.database, SUPPORT, account_id),
        account.list_reservations(staff_services.database, SUPPORT, account_id, now=NOW),
        account.list_subscriptions(
            staff_services.database, staff_services.links, SUPPORT, account_id
        ),
        account.list_account_invoices(
            staff_services.database, staff_services.links, SUPPORT, account_id
        ),
        account.list_account_keys(staff_services.database, SUPPORT, account_id),
        staff_sessions.list_account_sessions(staff_services.database, SUPPORT, account_id, now=NOW),
        staff_services.disputes.read(SUPPORT, account_id, NOW),
    ):
        with pytest.raises(AccountNotFoundError):
            await attempt


GETS = (
    "/offers",
    "/offers/nothing",
    "/customers?query=ac",
    "/customers/{account}",
    "/customers/{account}/balance",
    "/customers/{account}/disputes",
    "/customers/{account}/plans",
    "/customers/{account}/usage",
    "/customers/{account}/events",
    "/customers/{account}/reservations",
    "/customers/{account}/subscriptions",
    "/customers/{account}/invoices",
    "/customers/{account}/webhooks",
    "/customers/{account}/keys",
    "/customers/{account}/people",
    "/customers/{account}/sessions",
    "/customers/{account}/audit",
    "/webhooks",
    "/webhooks/evt_nothing",
    "/reconciliations",
    "/jobs",
    "/jobs/nothing",
    "/metrics",
    "/metrics/near-limit",
)
DRAFT = {
    "name": "X",
    "executions": 1,
    "price_minor": 100,
    "currency": "EUR",
    "interval": "month",
    "reason": "Because",
}
WRITES: tuple[tuple[str, str, dict[str, Any], StaffRole], ...] = (
    ("POST", "/offers", DRAFT | {"code": "BAD CODE"}, StaffRole.ADMIN),
    ("PUT", "/offers/nothing", DRAFT | {"revision": 1}, StaffRole.ADMIN),
    ("POST", "/offers/nothing/publish", {"revision": 1}, StaffRole.ADMIN),
    ("POST", "/offers/nothing/archive", {}, StaffRole.ADMIN),
    ("POST", "/offers/nothing/unarchive", {}, StaffRole.ADMIN),
    ("POST", "/customers/{account}/sign-out", {"user_id": "usr_nobody"}, StaffRole.SUPPORT),
    ("POST", "/webhooks/evt_nothing/replay", {}, StaffRole.BILLING),
    ("POST", "/reconciliations", {"dry_run": True}, StaffRole.BILLING),
    ("POST", "/jobs/nothing/retry", {}, StaffRole.BILLING),
)
RANKS = list(StaffRole)


@pytest.mark.parametrize("role", [*StaffRole, None])
def test_roles_over_http(
    staff_server: Any, staff_url: str, holder: Holder, role: StaffRole | None
) -> None:
    """Each route, for each role and for a key of a service; what is allowed gets past the door."""
    secret = staff_key(staff_url, role) if role else api_key(staff_url)
    headers = {"Authorization": f"Bearer {secret}"}
    base = f"{staff_server.url}/billing/admin"
    with httpx.Client(headers=headers, timeout=30) as client:
        for path in GETS:
            answer = client.get(base + path.format(account=holder.account_id))
            allowed = {200, 404, 503} if role else {403}
            assert answer.status_code in allowed, (path, answer.text)
        for method, path, body, least in WRITES:
            url = base + path.format(account=holder.account_id)
            answer = client.request(method, url, json={"reason": "Because"} | body)
            may = role is not None and RANKS.index(role) >= RANKS.index(least)
            expected = {404, 422, 503} if may else {403}
            assert answer.status_code in expected, (role, path, answer.text)
            assert client.request(method, url, json=body | {"reason": 1}).status_code in {403, 422}
    for path in GETS:
        assert httpx.get(base + path.format(account=holder.account_id)).status_code == 401
    for method, path, body, _ in WRITES:
        url = base + path.format(account=holder.account_id)
        assert httpx.request(method, url, json=body).status_code == 401


def test_routes_are_in_openapi(staff_server: Any) -> None:
    document = httpx.get(f"{staff_server.url}/billing/openapi.json", timeout=30).json()
    for path in GETS:
        plain = path.partition("?")[0].replace("{account}", "{account_id}")
        known = {
            "/offers/nothing": "/offers/{code}",
            "/webhooks/evt_nothing": "/webhooks/{event_id}",
            "/jobs/nothing": "/jobs/{job_id}",
        }
        assert f"/billing/admin{known.get(plain, plain)}" in document["paths"]


@pytest.mark.parametrize(
    "change",
    [
        {"price_minor": -1},
        {"price_minor": 10**40},
        {"price_minor": 1.5},
        {"executions": "12"},
        {"executions": True},
        {"currency": "XXX"},
        {"interval": "week"},
        {"overage": "soft"},
        {"overage": "squishy"},
        {"reason": ""},
        {"unknown": 1},
        {"name": "\ud800"},
        {"name": "\0"},
        {"position": -(2**70)},
        {"valid_days": 2**33},
    ],
)
def test_bad_drafts_over_http(staff_server: Any, staff_url: str, change: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {staff_key(staff_url, StaffRole.ADMIN)}"}
    answer = httpx.post(
        f"{staff_server.url}/billing/admin/offers",
        headers=headers | {"Content-Type": "application/json"},
        content=json.dumps(DRAFT | {"code": "x"} | change),
        timeout=30,
    )
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
