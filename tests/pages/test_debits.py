"""Purchases by bank debit, as people see them: from the order to the bank's decision."""

import os
import re
from itertools import product
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.mailbox import Mailbox, text_of
from tests.pages.conftest import ARTIFACTS, DESKTOP, OpenContext, RunningApp
from tests.pages.customers import (
    TOLD_WITHIN_MS,
    Customer,
    new_customer,
    subscribe,
    type_card,
)
from tests.pages.test_accessibility import SCHEMES, SIZES, resize
from tests.payments.test_slow_debits import BANK_ACCOUNT

PICTURES = bool(os.environ.get("PICTURES"))


def decide(mary: Customer, *, succeeds: bool) -> None:
    """The bank decides on her newest payment."""
    sandbox = mary.app.sandbox
    query: Any = {"customer": customer_id(mary), "limit": 100}
    intents = sandbox.client().v1.payment_intents.list(query).data
    (waiting,) = [each for each in intents if each.status == "processing"]
    sandbox.control("debits", payment_intent=waiting.id, succeeds=succeeds)


def customer_id(mary: Customer) -> str:
    ((found,),) = mary.rows("SELECT customer_id FROM provider_customers WHERE account_id = %s")
    return found


def sees(page: Page, *texts: str | re.Pattern[str]) -> None:
    for text in texts:
        expect(page.locator("#content").get_by_text(text).first).to_be_visible(
            timeout=TOLD_WITHIN_MS
        )


def picture(page: Page, name: str) -> None:
    """For people to look at in both themes and sizes, when PICTURES is set."""
    for scheme, (size_name, size) in product(SCHEMES, SIZES.items()) if PICTURES else ():
        page.emulate_media(color_scheme=scheme)
        resize(page, size)
        page.wait_for_timeout(400)
        path = ARTIFACTS / f"debits-{name}-{size_name}-{scheme}.png"
        page.screenshot(path=path, full_page=True)
    if PICTURES:
        page.emulate_media(color_scheme="light")
        resize(page, DESKTOP)


@pytest.fixture
def asked(open_context: OpenContext, running_app: RunningApp) -> Customer:
    """A first subscription that is being debited, through the checkout."""
    mary = new_customer(open_context, running_app)
    page = mary.page
    page.get_by_role("button", name="Choose Starter").click()
    page.wait_for_url("**/checkout/**")
    type_card(page, BANK_ACCOUNT, "Subscribe")
    page.wait_for_url("**/overview?checkout=done")
    sees(page, "Your bank has been asked for $19.00", "Starts as soon as your bank has paid $19.00")
    sees(page, "Until then you can use what you have now.", "Waiting for your bank")
    sees(page, "Starter starts once your bank has paid $19.00: 5,000 executions")
    expect(page.get_by_text(re.compile("^Paid"))).to_have_count(0)
    picture(page, "first-asked")
    return mary


def test_first_subscription_by_debit_that_the_bank_pays(asked: Customer) -> None:
    page = asked.page
    decide(asked, succeeds=True)
    sees(page, "Your bank has paid $19.00", "Starter is available, with 5,000 executions.")
    expect(page.get_by_text("Your bank has been asked for")).to_have_count(0)
    picture(page, "first-paid")


def test_first_subscription_by_debit_that_the_bank_does_not_pay(
    asked: Customer, mailbox: Mailbox
) -> None:
    page = asked.page
    decide(asked, succeeds=False)
    sees(page, "Your bank did not pay $19.00 for Starter", "Not paid")
    pay = page.get_by_role("link", name="Pay $19.00")
    expect(pay).to_be_visible()
    expect(page.get_by_text("Your bank has been asked for")).to_have_count(0)
    picture(page, "first-failed")
    page.goto("/")
    sees(page, "Your bank did not pay $19.00 for Starter")
    picture(page, "first-failed-dashboard")
    mail = mailbox.wait_for(asked.email, "Your bank did not pay for Starter")
    assert "Nothing was charged." in text_of(mail)


def test_pack_and_change_by_debit(open_context: OpenContext, running_app: RunningApp) -> None:
    mary = new_customer(open_context, running_app)
    subscribe(mary, "Starter")
    page, client = mary.page, running_app.sandbox.client().v1
    body: Any = {
        "type": "us_bank_account",
        "us_bank_account": {
            "account_holder_type": "company",
            "account_number": BANK_ACCOUNT,
            "routing_number": "110000000",
        },
        "billing_details": {"name": "Mary", "email": "mary@example.com"},
    }
    method = client.payment_methods.create(body).id
    client.payment_methods.attach(method, {"customer": customer_id(mary)})
    (found,) = client.subscriptions.list({"customer": customer_id(mary)}).data
    client.subscriptions.update(found.id, {"default_payment_method": method})
    page.reload()
    dialog = page.get_by_role("dialog")
    for succeeds in (False, True):
        page.get_by_role("button", name="Buy: Extra pack").click()
        expect(dialog).to_contain_text(
            "Your bank is asked for $29.00 from your bank account ending in 6789 today, once."
        )
        expect(dialog).to_contain_text("once your bank has paid, which takes a few days")
        picture(page, "pack-dialog")
        dialog.get_by_role("button", name="Pay $29.00").click()
        sees(page, "Your bank has been asked for $29.00")
        expect(page.get_by_role("table", name="Invoices")).to_contain_text("Waiting for bank")
        picture(page, "pack-asked")
        decide(mary, succeeds=succeeds)
        decided = "Your bank has paid $29.00" if succeeds else "Your bank did not pay $29.00"
        sees(page, re.compile(re.escape(decided)))
        expect(page.get_by_text("Your bank has been asked for")).to_have_count(0)
        picture(page, f"pack-{succeeds}")
    page.get_by_role("button", name="Change to Growth").click()
    expect(dialog).to_contain_text("Your bank is asked for $60.00 from your bank account")
    picture(page, "change-dialog")
    dialog.get_by_role("button", name="Pay $60.00 and change now").click()
    sees(page, "Your bank has been asked for $60.00", "Until then you can use what you have now.")
    expect(page.get_by_text("You are now on Growth")).to_have_count(0)
    picture(page, "change-asked")
    page.get_by_role("button", name="Change to Scale").click()
    expect(dialog).to_contain_text("the plan can be changed at the end of the period only")
    expect(dialog.get_by_role("radio")).to_have_count(0)
    expect(dialog).not_to_contain_text("You keep your")
    picture(page, "change-later")
    dialog.get_by_role("button", name=re.compile("^Change on ")).click()
    sees(page, re.compile("It changes to Scale on "))
    page.get_by_role("button", name="Stay on Growth").click()
    expect(page.get_by_text(re.compile("It changes to Scale on "))).to_have_count(0)
    page.get_by_role("button", name="Cancel Growth").click()
    expect(dialog).to_contain_text("if it pays, you get Growth for it")
    picture(page, "change-cancel")
    dialog.get_by_role("button", name="Keep Growth").click()
    decide(mary, succeeds=False)
    sees(page, "Your bank did not pay $60.00 for Growth")
    picture(page, "change-failed")
