"""Webhook endpoints of an organization and of the platform, with a receiver that answers."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from billing_app import routes
from billing_app.billing import ids
from billing_app.db.enums import Role, StaffRole
from billing_app.states.session import SessionState
from billing_app.states.staff.webhooks import StaffWebhooksState
from billing_app.states.webhooks import ADD, DELETE, EDIT, ROTATE, WebhooksState
from tests.factories import connect, organization
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.customers import Customer, new_customer
from tests.pages.receiver import Receiver
from tests.pages.sockets import CONNECT, ForgingSocket
from tests.pages.staff import cookie_of, open_console, send, signed_in
from tests.pages.test_accessibility import faults, grave_violations
from tests.pages.test_members import join

TOLD_WITHIN_MS = 30_000
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    started = Receiver()
    started.start()
    yield started
    started.stop()


def webhooks_page(open_context: OpenContext, app: RunningApp, role: Role) -> tuple[Page, Customer]:
    """Of an organization, as somebody new there."""
    holder = organization(app.database_url)
    somebody = new_customer(open_context, app)
    join(app, somebody, holder, role)
    page = somebody.page
    page.reload()
    page.get_by_role("button", name="Account: Mary Shelley").first.click()
    page.get_by_role("menuitem", name="Acme").click()
    expect(page.locator(".page-note")).to_have_text("Acme")
    if role is not Role.MEMBER:
        page.get_by_role("button", name="Account: Acme").first.click()
        page.get_by_role("menuitem", name="Webhooks").click()
        expect(page.get_by_role("heading", name="Webhooks")).to_be_visible()
    return page, somebody


def add_endpoint(page: Page, url: str, *types: str) -> str:
    """Through the dialog; returns the secret that it shows."""
    page.get_by_role("button", name="Add endpoint").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("URL").fill(url)
    dialog.get_by_label("Description").fill("Staging & <tests>")
    for each in types:
        dialog.get_by_label(each, exact=True).check()
    dialog.get_by_role("button", name="Add endpoint").click()
    expect(dialog.get_by_text("Signing secret")).to_be_visible()
    secret = dialog.locator("#secret").inner_text()
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_be_hidden()
    return secret


def act(page: Page, action: str, url: str = "") -> None:
    page.get_by_role("button", name=f"Actions: {url}").click()
    page.get_by_role("menuitem", name=action).click()


def test_owner_adds_tests_rotates_and_deletes(
    open_context: OpenContext, running_app: RunningApp, receiver: Receiver
) -> None:
    page, _ = webhooks_page(open_context, running_app, Role.OWNER)
    expect(page.get_by_text("No endpoints yet")).to_be_visible()
    assert faults(page, "webhooks-empty") == []
    secret = add_endpoint(page, receiver.url, "invoice.paid", "balance.low")
    assert SECRET.fullmatch(secret)
    expect(page.get_by_text("2 event types · Staging & <tests>")).to_be_visible()
    page.reload()
    expect(page.get_by_text("2 event types")).to_be_visible()
    assert secret not in page.content()

    act(page, "Send test event")
    deliveries = page.get_by_role("table", name="Deliveries")
    expect(deliveries.get_by_text("Delivered")).to_be_visible(timeout=TOLD_WITHIN_MS)
    assert '"type":"webhook.test"' in receiver.bodies[0].replace(" ", "")
    assert faults(page, "webhooks") == []
    deliveries.get_by_role("button", name="Open webhook.test").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Body", exact=True)).to_contain_text('"type": "webhook.test"')
    expect(dialog.get_by_text("204")).to_be_visible()
    assert faults(page, "webhooks-delivery", within="[role=dialog]") == []
    dialog.get_by_role("button", name="Redeliver").click()
    expect(page.get_by_text("Delivery on its way again")).to_be_visible()
    twice = deliveries.get_by_role("cell", name="2", exact=True)
    expect(twice).to_be_visible(timeout=TOLD_WITHIN_MS)
    assert receiver.ids[0] == receiver.ids[1]

    act(page, "Rotate secret")
    dialog.get_by_role("button", name="Rotate secret").click()
    expect(dialog.locator("#secret")).to_have_text(SECRET)
    assert dialog.locator("#secret").inner_text() != secret
    dialog.get_by_role("button", name="Done").click()
    expect(page.get_by_text("The previous secret is valid until")).to_be_visible()

    act(page, "Pause")
    expect(page.get_by_text("Paused", exact=True)).to_be_visible()
    act(page, "Resume")
    expect(page.get_by_text("On", exact=True)).to_be_visible()
    act(page, "Edit")
    expect(dialog.get_by_label("invoice.paid", exact=True)).to_be_checked()
    expect(dialog.get_by_label("plan.ended", exact=True)).not_to_be_checked()
    assert grave_violations(page, within="[role=dialog]") == []
    dialog.get_by_label("invoice.paid", exact=True).uncheck()
    dialog.get_by_label("balance.low", exact=True).uncheck()
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Every event · Staging")).to_be_visible()

    act(page, "Delete")
    dialog.get_by_role("button", name="Delete endpoint").click()
    expect(page.get_by_text("No endpoints yet")).to_be_visible()


def test_failed_delivery_shows_the_response(
    open_context: OpenContext, running_app: RunningApp, receiver: Receiver
) -> None:
    receiver.answer = 500
    page, _ = webhooks_page(open_context, running_app, Role.BILLING_ADMIN)
    add_endpoint(page, receiver.url)
    act(page, "Send test event")
    deliveries = page.get_by_role("table", name="Deliveries")
    expect(deliveries.get_by_text("500")).to_be_visible(timeout=TOLD_WITHIN_MS)
    expect(page.get_by_text("Failing since")).to_be_visible(timeout=TOLD_WITHIN_MS)
    deliveries.get_by_role("button", name="Open webhook.test").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Response to attempt 1")).to_have_text("out of order")
    expect(dialog.get_by_text("Next attempt:")).to_be_visible()


@pytest.mark.parametrize("url", ["ftp://example.com", "not a url", "https://user:x@example.com/"])
def test_bad_url_is_explained_in_the_dialog(
    open_context: OpenContext, running_app: RunningApp, url: str
) -> None:
    page, _ = webhooks_page(open_context, running_app, Role.OWNER)
    page.get_by_role("button", name="Add endpoint").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("URL").fill(url)
    dialog.get_by_role("button", name="Add endpoint").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Check what you entered")
    assert faults(page, "webhooks-add", within="[role=dialog]") == []


def test_member_and_personal_account_see_why_there_is_nothing(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page, _ = webhooks_page(open_context, running_app, Role.MEMBER)
    page.get_by_role("button", name="Account: Acme").first.click()
    expect(page.get_by_role("menuitem", name="Details")).to_be_visible()
    expect(page.get_by_role("menuitem", name="Webhooks")).to_have_count(0)
    page.keyboard.press("Escape")
    page.goto(routes.WEBHOOKS_PAGE)
    expect(page.get_by_text("Only owners and billing admins can see webhooks")).to_be_visible()
    page.get_by_role("button", name="Account: Acme").first.click()
    page.get_by_role("menuitem", name="Mary Shelley").click()
    expect(page.get_by_text("Webhooks are for organizations")).to_be_visible()


def test_forged_events_of_a_member_and_a_stranger_change_nothing(
    open_context: OpenContext, running_app: RunningApp, receiver: Receiver
) -> None:
    page, owner = webhooks_page(open_context, running_app, Role.OWNER)
    secret = add_endpoint(page, receiver.url)
    with connect(running_app.database_url) as connection:
        row = connection.execute(
            "SELECT e.id, e.organization_id, a.id FROM webhook_endpoints AS e JOIN accounts AS a"
            " ON a.organization_id = e.organization_id WHERE e.secret = %s",
            [secret],
        ).fetchone()
        assert row is not None
    endpoint_id, organization_id, account_number = row
    member, stranger = (new_customer(open_context, running_app) for _ in range(2))
    with connect(running_app.database_url) as connection:
        connection.execute(
            "INSERT INTO memberships (organization_id, user_id, role, created_at)"
            " VALUES (%s, %s, 'member', now())",
            [organization_id, member.user_id],
        )
    before = rows_of_webhooks(running_app, endpoint_id)
    for attacker in (member, stranger):
        answers = forge(running_app, attacker, endpoint_id, account_number)
        assert secret not in answers
        assert receiver.url not in answers
        assert rows_of_webhooks(running_app, endpoint_id) == before
    assert receiver.bodies == []
    assert owner.user_id


def rows_of_webhooks(app: RunningApp, endpoint_id: str) -> list[object]:
    with connect(app.database_url) as connection:
        queries = (
            "SELECT xmin, * FROM webhook_endpoints WHERE id = %s",
            "SELECT xmin, * FROM webhook_deliveries WHERE endpoint_id = %s",
        )
        return [connection.execute(query, [endpoint_id]).fetchall() for query in queries]


def forge(app: RunningApp, attacker: Customer, endpoint_id: str, account_number: int) -> str:
    found = attacker.context.cookies()[0]
    cookie = f"{found.get('name')}={found.get('value')}"
    form = {"url": "https://evil.example.com/", "description": ""}
    account_id = ids.encode_account(account_number)
    with ForgingSocket(app, routes.WEBHOOKS_PAGE, cookie=cookie) as socket:
        socket.send(CONNECT)
        socket.send_event(SessionState, "choose_account", account_id=account_id)
        socket.send_event(WebhooksState, "load")
        for dialog, handler, payload in (
            (ADD, "save", {"form": form}),
            (EDIT, "save", {"form": form}),
            (ROTATE, "rotate", {}),
            (DELETE, "delete", {}),
            ("", "switch", {"endpoint_id": endpoint_id}),
            ("", "send_test", {"endpoint_id": endpoint_id}),
            ("", "choose", {"endpoint_id": endpoint_id}),
            ("", "open_delivery", {"delivery_id": "whd_x"}),
            ("", "redeliver", {}),
            ("", "filter_status", {"status": "x"}),
            ("", "filter_type", {"event_type": "x"}),
            ("", "show_older", {}),
            ("", "show_newer", {}),
        ):
            socket.send_event(WebhooksState, "ask", dialog=dialog, endpoint_id=endpoint_id)
            socket.send_event(WebhooksState, handler, **payload)
            socket.send_event(WebhooksState, "close")
            socket.settle(1)
        socket.settle()
        return socket.text


def test_admin_manages_the_endpoints_of_the_platform(
    open_context: OpenContext, running_app: RunningApp, receiver: Receiver
) -> None:
    page = open_console(open_context, running_app, routes.STAFF_WEBHOOKS)
    add_endpoint(page, receiver.url, "account.closed")
    act(page, "Send test event", receiver.url)
    deliveries = page.get_by_role("table", name="Deliveries")
    expect(deliveries.get_by_text("Delivered")).to_be_visible(timeout=TOLD_WITHIN_MS)
    assert faults(page, "staff-webhooks") == []
    support = open_console(open_context, running_app, routes.STAFF_WEBHOOKS, role=StaffRole.SUPPORT)
    expect(support.get_by_text(receiver.url).first).to_be_visible()
    expect(support.get_by_role("button", name="Actions: ")).to_have_count(0)
    expect(support.get_by_role("button", name="Add endpoint")).to_have_count(0)
    refused = send(
        running_app,
        cookie_of(running_app, StaffRole.BILLING),
        routes.STAFF_WEBHOOKS,
        [
            (StaffWebhooksState, "load", {}),
            (StaffWebhooksState, "switch", {"endpoint_id": endpoint_id(running_app, receiver)}),
            (StaffWebhooksState, "send_test", {"endpoint_id": endpoint_id(running_app, receiver)}),
            (StaffWebhooksState, "ask", {"dialog": ADD, "endpoint_id": ""}),
            (StaffWebhooksState, "save", {"form": {"url": "https://hooks.invalid/"}}),
        ],
    )
    assert refused.count("This requires the role") == 3
    act(page, "Delete", receiver.url)
    page.get_by_role("dialog").get_by_role("button", name="Delete endpoint").click()
    expect(page.get_by_text(receiver.url)).to_have_count(0)
    customer = signed_in(open_context, running_app, new_customer(open_context, running_app).user_id)
    customer.goto(routes.STAFF_WEBHOOKS)
    expect(customer.get_by_text("Page not found")).to_be_visible()


def endpoint_id(app: RunningApp, receiver: Receiver) -> str:
    with connect(app.database_url) as connection:
        row = connection.execute(
            "SELECT id FROM webhook_endpoints WHERE url = %s", [receiver.url]
        ).fetchone()
    assert row is not None
    return row[0]
