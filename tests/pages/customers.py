"""People who pay: signed up through the page, paying at the sandbox's own pages."""

import asyncio
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect

from billing_app import routes
from billing_app.billing import ids
from billing_app.billing.identity import sessions
from billing_app.billing.plans.trials import TrialTerms
from billing_app.db.engine import Database
from tests.conftest import PUBLIC, TRIAL_EXECUTIONS
from tests.factories import connect, session_token
from tests.pages.conftest import OpenContext, RunningApp

VISA, DECLINED, POOR, CHALLENGED = (
    "4242424242424242",
    "4000000000000002",
    "4000000000009995",
    "4000000000003220",
)
TOLD_WITHIN_MS = 20_000


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody on a trial of their own, with a browser on their overview."""

    context: BrowserContext
    page: Page
    email: str
    user_id: str
    account_number: int
    app: RunningApp

    @property
    def account_id(self) -> str:
        return ids.encode_account(self.account_number)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database has of this account; `%s` stands for its number."""
        with connect(self.app.database_url) as connection:
            return connection.execute(query, [self.account_number]).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]


def new_customer(open_context: OpenContext, app: RunningApp, **look: Any) -> Customer:
    """Not through the form: an address may sign up only so often in an hour."""
    email = f"{secrets.token_hex(6)}@example.com"
    with ThreadPoolExecutor(1) as apart_from_playwrights_loop:
        user_id = apart_from_playwrights_loop.submit(_sign_up, app.database_url, email).result()
    with connect(app.database_url) as connection:
        row = connection.execute("SELECT id FROM accounts WHERE user_id = %s", [user_id]).fetchone()
    assert row is not None
    context = open_context(**look)
    token = session_token(app.database_url, user_id)
    context.add_cookies([{"name": routes.SESSION_COOKIE, "value": token, "url": app.base_url}])
    page = context.new_page()
    open_overview(page)
    return Customer(context, page, email, user_id, row[0], app)


def _sign_up(database_url: str, email: str) -> str:
    return asyncio.run(_make_user(Database(database_url), email))


async def _make_user(database: Database, email: str) -> str:
    terms = TrialTerms(public_organization_id=PUBLIC, executions=TRIAL_EXECUTIONS, days=None)
    try:
        return await sessions.sign_up(
            database,
            email=email,
            password="a creature of my own",
            name="Mary Shelley",
            terms=terms,
            now=datetime.now(UTC),
        )
    finally:
        await database.dispose()


def open_overview(page: Page) -> None:
    page.goto(routes.OVERVIEW)
    page.locator(".offers").wait_for()


def type_card(page: Page, number: str, button: str) -> None:
    """On the sandbox's checkout or invoice page."""
    page.locator("input[name=number]").fill(number)
    page.locator("input[name=expiry]").fill("12 / 34")
    page.locator("input[name=cvc]").fill("123")
    if page.locator("input[name=name]").count():
        page.locator("input[name=name]").fill("Mary Shelley")
    if page.locator("input[name=line1]").count():
        page.locator("input[name=line1]").fill("1 Main Street")
    page.get_by_role("button", name=button).click()


def paid_for(offer: str) -> re.Pattern[str]:
    """What is said of it: a pack waits behind a trial that is in use."""
    return re.compile(f"Paid: {offer} is (active|next)")


def subscribe(customer: Customer, offer: str, number: str = VISA) -> None:
    """From the overview through the checkout and back, until the plan is there. Of a customer on
    a test clock, it may have ended by today."""
    page = customer.page
    page.get_by_role("button", name=f"Choose {offer}").click()
    page.wait_for_url("**/checkout/**")
    type_card(page, number, "Subscribe")
    page.wait_for_url("**/overview?checkout=done")
    paid = re.compile(f"Paid: {offer} is active|You paid for {offer}")
    expect(page.get_by_text(paid)).to_be_visible(timeout=TOLD_WITHIN_MS)


def on_test_clock(customer: Customer, *, days_ago: int) -> str:
    """Give the account a customer whose time began so many days ago; the clock's id."""
    client = customer.app.sandbox.client()
    began = int((datetime.now(UTC) - timedelta(days=days_ago)).timestamp())
    clock = client.v1.test_helpers.test_clocks.create({"frozen_time": began})
    made = client.v1.customers.create(
        {"test_clock": clock.id, "metadata": {"billing_account": customer.account_id}}
    )
    with connect(customer.app.database_url) as connection:
        connection.execute(
            "INSERT INTO provider_customers (account_id, customer_id, created_at)"
            " VALUES (%s, %s, now())",
            [customer.account_number, made.id],
        )
    return clock.id


def fail_the_renewal(customer: Customer, clock_id: str) -> None:
    """The card on file stops working, and the period ends."""
    client = customer.app.sandbox.client()
    ((customer_id,),) = customer.rows(
        "SELECT customer_id FROM provider_customers WHERE account_id = %s"
    )
    method = client.v1.payment_methods.attach(
        "pm_card_chargeCustomerFail", {"customer": customer_id}
    ).id
    client.v1.customers.update(
        customer_id, {"invoice_settings": {"default_payment_method": method}}
    )
    (found,) = client.v1.subscriptions.list({"customer": customer_id}).data
    client.v1.subscriptions.update(found.id, {"default_payment_method": method})
    after_end = found["items"].data[0].current_period_end + 2 * 3_600
    client.v1.test_helpers.test_clocks.advance(clock_id, {"frozen_time": after_end})
