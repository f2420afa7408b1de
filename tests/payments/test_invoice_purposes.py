"""What an invoice says it is for: the offers, periods, packs and overage that it bills."""

from datetime import datetime
from typing import Any

import pytest

from billing_app.billing.offers.catalogue import OfferTerms, OverageTerms, publish_offer
from billing_app.billing.subscriptions.invoices import list_invoices
from billing_app.db.enums import Interval
from tests.factories import OPERATOR
from tests.payments.billing_harness import HOUR, BillingHarness, accepted, type_card
from tests.payments.test_overage_reports import report

pytestmark = pytest.mark.stripe_test_mode


async def purposes(harness: BillingHarness) -> list[str]:
    """Newest first."""
    database, account_id = harness.services.database, harness.holder.account_id
    page = await list_invoices(database, OPERATOR, account_id)
    return [invoice.what_for for invoice in page.items]


def day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"


def period(found: Any) -> str:
    return f"{day(found.period_start)} \N{EN DASH} {day(found.period_end)}"


async def test_invoices_name_what_was_bought(harness: BillingHarness) -> None:
    starter = await harness.subscribed("starter")
    assert await purposes(harness) == [f"Starter, {period(starter)}"]
    assert type_card((await harness.begin("pack")).checkout_url).status_code in (200, 303)
    await harness.deliver()
    growth = await harness.change("growth")
    assert sorted(await purposes(harness)) == [
        f"Growth, {period(growth)}",
        "Pack",
        f"Starter, {period(starter)}",
    ]


async def test_renewal_names_executions_beyond_the_plan(harness: BillingHarness) -> None:
    terms = OfferTerms(
        "Soft", "", 5_000, 1_900, "USD", Interval.MONTH, overage=OverageTerms(25, 100, 1_000)
    )
    await publish_offer(
        harness.services.database, OPERATOR, code="soft", terms=terms, now=harness.now
    )
    first = await harness.subscribed("soft")
    assert await purposes(harness) == [f"Soft, {period(first)}"], "nothing beyond it yet"
    accepted(await harness.use(5_000 + 250))
    await report(harness)
    harness.skip((first.period_end - harness.now).total_seconds() + 2 * HOUR)
    await harness.deliver()
    second = await harness.live()
    assert (await purposes(harness))[0] == f"Soft, {period(second)}; Executions beyond the plan"


async def test_items_of_others_are_named(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    who, client = harness.customer_id(), harness.client.v1
    made = client.invoices.create({"customer": who, "auto_advance": False})
    for count in range(4):
        item: Any = {"customer": who, "invoice": made.id, "currency": "usd", "amount": 500}
        client.invoice_items.create(item | {"description": f"Workshop {count}"})
    client.invoices.finalize_invoice(made.id, {"auto_advance": False})
    await harness.deliver()
    (said,) = [each for each in await purposes(harness) if "Workshop" in each]
    assert (said.count("Workshop"), said.endswith("; and 1 more")) == (3, True)


async def test_quantity_is_named(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    await harness.begin("pack")
    ((price_id,),) = harness.rows(
        "SELECT price_id FROM offer_prices AS price JOIN offer_versions AS version"
        " ON version.id = price.offer_version_id WHERE version.name = 'Pack'"
    )
    who, client = harness.customer_id(), harness.client.v1
    made = client.invoices.create({"customer": who, "auto_advance": False})
    item: Any = {"customer": who, "invoice": made.id, "pricing": {"price": price_id}, "quantity": 3}
    client.invoice_items.create(item)
    client.invoices.finalize_invoice(made.id, {"auto_advance": False})
    await harness.deliver()
    assert "3 \N{MULTIPLICATION SIGN} Pack" in await purposes(harness)
