"""Who may not manage sees everything and changes nothing, by button or by forged event."""

from dataclasses import dataclass
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect
from reflex.state import BaseState

from billing_app import routes
from billing_app.db.enums import Role
from billing_app.states.billing_overview import BillingOverviewState
from billing_app.states.details import DetailsState
from billing_app.states.details_form import BILLING_EMAIL, BILLING_NAME, DetailsFormState
from billing_app.states.offer_dialog import OfferDialogState
from billing_app.states.session import SessionState
from tests.factories import Holder, connect, organization
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.customers import Customer, new_customer, open_overview, subscribe
from tests.pages.sockets import CONNECT, ForgingSocket, forged
from tests.pages.staff import wait_until_quiet

# The worker of the app reports usage at its own times.
USAGE_REPORTS: Final = "/v1/billing/meter_events"


@dataclass(frozen=True, slots=True)
class House:
    """An organization that pays, with its owner."""

    holder: Holder
    owner: Customer


def join(app: RunningApp, customer: Customer, holder: Holder, role: Role) -> None:
    with connect(app.database_url) as connection:
        connection.execute(
            "INSERT INTO memberships (organization_id, user_id, role, created_at)"
            " VALUES (%s, %s, %s, now())",
            [holder.organization_id, customer.user_id, role],
        )


def look_at(page: Page, name: str) -> None:
    open_overview(page)
    page.get_by_role("button", name="Account: Mary Shelley").first.click()
    page.get_by_role("menuitem", name=name).click()
    expect(page.locator(".page-note")).to_have_text(name)


@pytest.fixture
def house(open_context: OpenContext, running_app: RunningApp) -> House:
    holder = organization(running_app.database_url)
    owner = new_customer(open_context, running_app)
    join(running_app, owner, holder, Role.OWNER)
    look_at(owner.page, "Acme")
    subscribe(owner, "Starter")
    wait_until_quiet(running_app)
    with connect(running_app.database_url) as connection:
        connection.execute(
            "INSERT INTO email_changes (id, account_id, email, requested_by, created_at,"
            " expires_at) VALUES (%s, %s, 'new@example.com', %s, now(), now() + interval '1 hour')",
            [f"eml_{owner.user_id}", holder.account_number, owner.user_id],
        )
    return House(holder, owner)


def everything(app: RunningApp, holder: Holder) -> list[Any]:
    """What a forged event could have moved, at Stripe's side and at ours."""
    with connect(app.database_url) as connection:
        queries = (
            "billing_details WHERE account_id = %s",
            "email_changes WHERE account_id = %s",
            "subscriptions WHERE account_id = %s",
            "provider_writes WHERE account_id = %s",
            "checkouts WHERE account_id = %s",
            "provider_customers WHERE account_id = %s",
        )
        found = [
            connection.execute(f"SELECT * FROM {query}", [holder.account_number]).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue] # noqa: S608
            for query in queries
        ]
    writes = [
        (request["method"], request["path"])
        for request in app.sandbox.requests()
        if request["method"] != "GET" and request["path"] != USAGE_REPORTS
    ]
    return [*found, writes]


def attack(app: RunningApp, attacker: Customer, frames: list[str], token: str = "") -> str:
    """Send the frames over a socket with the attacker's own cookie; all that came back."""
    found = attacker.context.cookies()[0]
    cookie = f"{found.get('name')}={found.get('value')}"
    with ForgingSocket(app, routes.OVERVIEW, cookie=cookie, token=token) as socket:
        socket.send(CONNECT)
        for frame in frames:
            socket.send(frame)
            socket.settle()
        return socket.text


def every_deed(account_id: str) -> list[str]:
    def event(state: type[BaseState], handler: str, **payload: object) -> str:
        return forged(state, handler, routes.OVERVIEW, **payload)

    return [
        event(SessionState, "choose_account", account_id=account_id),
        event(BillingOverviewState, "load"),
        event(OfferDialogState, "choose", offer_code="scale"),
        event(OfferDialogState, "choose_when", value="period_end"),
        event(OfferDialogState, "agree"),
        event(OfferDialogState, "close"),
        event(OfferDialogState, "choose", offer_code="pack-10k"),
        event(OfferDialogState, "use_checkout"),
        event(OfferDialogState, "close"),
        event(OfferDialogState, "ask_cancel"),
        event(OfferDialogState, "choose_when", value="now"),
        event(OfferDialogState, "agree"),
        event(OfferDialogState, "close"),
        event(OfferDialogState, "take_back"),
        event(OfferDialogState, "open_portal"),
        event(OfferDialogState, "settle_checkout"),
        event(DetailsState, "load"),
        event(DetailsFormState, "ask", kind=BILLING_NAME),
        event(DetailsFormState, "change_billing_name", form={"name": "Evil"}),
        event(DetailsFormState, "change_purchase_order", form={"purchase_order": "EVIL"}),
        event(DetailsFormState, "close"),
        event(DetailsFormState, "change_billing_email", form={"email": "evil@example.com"}),
        event(DetailsFormState, "change_billing_email", form={"email": ""}),
        event(DetailsFormState, "send_again", kind=BILLING_EMAIL),
        event(DetailsFormState, "withdraw", kind=BILLING_EMAIL),
    ]


def test_member_sees_the_plan_and_who_can_change_it(
    open_context: OpenContext, running_app: RunningApp, house: House
) -> None:
    member = new_customer(open_context, running_app)
    join(running_app, member, house.holder, Role.MEMBER)
    look_at(member.page, "Acme")
    page = member.page
    expect(page.get_by_text("Mary Shelley can change the plan and pay for Acme.")).to_be_visible()
    expect(page.locator(".terms")).to_contain_text("Renews on")
    expect(page.locator(".method")).to_contain_text("Visa ending in 4242")
    expect(page.get_by_role("table", name="Invoices")).to_contain_text("Paid")
    for name in ("Change to", "Cancel ", "Buy", "Manage in Stripe"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_forged_events_from_a_member_change_nothing(
    open_context: OpenContext, running_app: RunningApp, house: House
) -> None:
    member = new_customer(open_context, running_app)
    join(running_app, member, house.holder, Role.MEMBER)
    before = everything(running_app, house.holder)
    answers = attack(running_app, member, every_deed(house.holder.account_id))
    assert "Acme" in answers, "a member may look"
    assert "You don't have permission to do this" in answers
    assert "/portal/" not in answers
    assert "/checkout/" not in answers
    assert everything(running_app, house.holder) == before


def test_forged_events_from_a_stranger_change_nothing(
    open_context: OpenContext, running_app: RunningApp, house: House
) -> None:
    stranger = new_customer(open_context, running_app)
    token = house.owner.page.evaluate("sessionStorage.getItem('token')")
    before = everything(running_app, house.holder)
    # Into the owner's own tab; and into a tab of the stranger's, where all deeds are their own.
    answers = attack(running_app, stranger, every_deed(house.holder.account_id), token)
    assert "Acme" not in answers
    assert everything(running_app, house.holder)[:6] == before[:6]
    answers = attack(running_app, stranger, every_deed(house.holder.account_id))
    assert "Acme" not in answers
    assert everything(running_app, house.holder)[:6] == before[:6]
