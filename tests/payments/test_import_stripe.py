"""`import stripe`: an account that something else filled becomes ours, and nobody is charged."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import server_environment
from tests.payments.billing_harness import DAY, BillingHarness
from tests.payments.old_shop import (
    MONTH,
    OldShop,
    adopt,
    balances,
    period_end,
    read,
    run,
    settled,
    write,
)
from tests.processes import run_command


@pytest.fixture
def shop(harness: BillingHarness) -> OldShop:
    return OldShop(harness)


async def test_dry_run_says_what_becomes_of_each_and_writes_nothing(
    harness: BillingHarness, shop: OldShop, tmp_path: Path
) -> None:
    price = shop.price("Team")
    customer = shop.customer("acme")
    subscription = shop.subscribe(customer, price, metadata={"executions_used": "700"})
    writes = len(harness.sandbox.requests())
    report, until_day = tmp_path / "report.csv", f"{period_end(shop, subscription):%Y-%m-%d}"
    done = run(harness, "--report", report)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Prices of 1 subscription: 1",
        f"  {price} (1) -> offer team: Team, 15.00 USD a month, 3,000 executions, new",
        "Subscriptions to take: 1",
        f"  {customer} -> acme: team, 3,000 executions until {until_day}, 700 used",
        "Here before: 0",
        "Nothing was imported. Pass --apply to import.",
    ]
    header, line = read(report)
    assert header.startswith("subscription,customer,external_id,result,problem,offer,")
    assert line.startswith(f"{subscription},{customer},acme,taken,,team,3000,700,")
    assert {each["method"] for each in harness.sandbox.requests()[writes:]} == {"GET"}
    assert harness.rows("SELECT count(*) FROM provider_customers") == [(0,)]
    assert harness.rows("SELECT count(*) FROM offers WHERE code = 'team'") == [(0,)]


async def test_subscription_goes_on_as_one_of_ours(harness: BillingHarness, shop: OldShop) -> None:
    customer = shop.customer("acme")
    subscription = shop.subscribe(customer, shop.price("Team"), metadata={"executions_used": "700"})
    charges, before = shop.charges(), len(harness.sandbox.requests())
    done = run(harness, "--apply")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Subscriptions taken: 1\n" in done.stdout
    assert shop.writes(before) == [("POST", f"/v1/customers/{customer}")]
    metadata = shop.api.customers.retrieve(customer).metadata
    assert metadata is not None
    account = adopt(harness, "acme")
    assert (metadata["crm"], metadata["billing_account"]) == ("42", account)
    assert balances(harness) == [("acme", "Team", 3_000, 700)]
    details = "SELECT o.name, b.email FROM organizations AS o JOIN accounts AS a"
    details += " ON a.organization_id = o.id JOIN billing_details AS b ON b.account_id = a.id"
    assert harness.rows(details) == [("Acme Inc", "billing@acme.example")]
    await settled(harness)
    assert (await harness.live()).offer.code == "team"
    assert shop.charges() == charges
    harness.skip(32 * DAY)
    await harness.deliver()
    assert (await harness.current()).executions_remaining == 3_000
    assert shop.charges() == [*charges, (customer, 1_500)]
    await settled(harness)
    changed = await harness.change("growth")
    assert (changed.offer.code, changed.offer.price_minor) == ("growth", 7_900)
    assert [each.id for each in harness.subscriptions()] == [subscription]
    await settled(harness)


async def test_second_run_changes_nothing(harness: BillingHarness, shop: OldShop) -> None:
    used = {"executions_used": "700"}
    shop.subscribe(shop.customer("acme"), shop.price("Team"), metadata=used)
    run(harness, "--apply")
    adopt(harness, "acme")
    before, count = harness.snapshot(), len(harness.sandbox.requests())
    done = run(harness, "--apply")
    assert "Subscriptions taken: 0\n" in done.stdout
    assert "Here before: 1\n" in done.stdout
    assert harness.snapshot() == before
    assert shop.writes(count) == []


async def test_states_of_subscriptions_are_kept(harness: BillingHarness, shop: OldShop) -> None:
    price = shop.price("Team")
    shop.subscribe(shop.customer("trial"), price, trial_period_days=14)
    shop.subscribe(shop.customer("seats"), price, items=[{"price": price, "quantity": 3}])
    leaving = shop.subscribe(shop.customer("leaving"), price)
    shop.api.subscriptions.update(leaving, {"cancel_at_period_end": True})
    coupon = shop.api.coupons.create({"percent_off": 50, "duration": "forever"}).id
    shop.subscribe(shop.customer("discount"), price, discounts=[{"coupon": coupon}])
    sent: Any = {"collection_method": "send_invoice", "days_until_due": 30}
    shop.subscribe(shop.customer("sent"), price, **sent)
    done = run(harness, "--apply")
    assert "Subscriptions taken: 5\n" in done.stdout, done.stdout
    assert balances(harness) == [
        ("discount", "Team", 3_000, 0),
        ("leaving", "Team", 3_000, 0),
        ("seats", "Team", 9_000, 0),
        ("trial", "Team", 3_000, 0),
    ]
    states = "SELECT organization_id, status, cancel_at_period_end, quantity FROM subscriptions"
    states += " JOIN accounts ON accounts.id = account_id ORDER BY 1"
    assert harness.rows(states) == [
        ("discount", "active", False, 1),
        ("leaving", "active", True, 1),
        ("seats", "active", False, 3),
        ("sent", "active", False, 1),
        ("trial", "trialing", False, 1),
    ]
    await settled(harness)


async def test_balance_is_the_current_period_whatever_earlier_invoices_gave(
    harness: BillingHarness, shop: OldShop
) -> None:
    """A change in the middle of the last period is billed with the renewal."""
    team = shop.price("Team")
    subscription = shop.subscribe(shop.customer("acme"), shop.price("Old", 500))
    harness.skip(10 * DAY)
    item = shop.api.subscriptions.retrieve(subscription)["items"].data[0].id
    change: Any = {"items": [{"id": item, "price": team}], "metadata": {"executions_used": "100"}}
    shop.api.subscriptions.update(subscription, change)
    harness.skip(25 * DAY)
    assert len(shop.api.invoices.list().data[0].lines.data) == 3
    assert run(harness, "--apply").returncode == 0
    adopt(harness, "acme")
    assert (await harness.current()).executions_remaining == 2_900
    await settled(harness)


async def test_overdue_subscription_keeps_its_grace(harness: BillingHarness, shop: OldShop) -> None:
    customer = shop.customer("late")
    shop.subscribe(customer, shop.price("Team"))
    method = shop.api.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer})
    settings: Any = {"invoice_settings": {"default_payment_method": method.id}}
    shop.api.customers.update(customer, settings)
    harness.skip(32 * DAY)
    assert shop.api.subscriptions.list().data[0].status == "past_due"
    assert "Subscriptions taken: 1\n" in run(harness, "--apply").stdout
    query = "SELECT past_due_since IS NOT NULL, status FROM subscriptions"
    assert harness.rows(query) == [(True, "past_due")]
    query = "SELECT suspended_at IS NOT NULL FROM plans WHERE source = 'subscription'"
    assert harness.rows(f"{query} ORDER BY sequence DESC LIMIT 1") == [(True,)]


async def test_what_cannot_be_taken_is_named_and_left_alone(
    harness: BillingHarness, shop: OldShop
) -> None:
    team = shop.price("Team")
    expected = {
        shop.subscribe(shop.customer(f"org-{number}"), price, **more): problem
        for number, (price, more, problem) in enumerate(
            [
                (shop.price("Unknown", executions=""), {}, "its executions are not known"),
                (
                    shop.price("Quarter", recurring=MONTH | {"interval_count": 3}),
                    {},
                    "it is billed every 3 month",
                ),
                (shop.price("Weekly", recurring={"interval": "week"}), {}, "every 1 week"),
                (metered(shop), {}, "it is metered"),
                (
                    shop.price("Packages", transform_quantity={"divide_by": 5, "round": "up"}),
                    {},
                    "it is for packages of units",
                ),
                (team, {"items": [{"price": team}, {"price": shop.price("B")}]}, "it has 2 items"),
                (team, {"metadata": {"executions_used": "3001"}}, "3001 of 3,000 executions"),
                (team, {"metadata": {"executions_used": "many"}}, "many of 3,000 executions"),
            ]
        )
    }
    several = shop.customer("several")
    for subscription in (shop.subscribe(several, team), shop.subscribe(several, team)):
        expected[subscription] = "another live subscription"
    for subscription in [shop.subscribe(shop.customer("same"), team) for _ in range(2)]:
        expected[subscription] = "other customers have the same external_id"
    scheduled = shop.subscribe(shop.customer("scheduled"), team)
    shop.api.subscription_schedules.create({"from_subscription": scheduled})
    expected[scheduled] = "its changes are scheduled"
    changed = shop.subscribe(shop.customer("changed"), shop.price("Old"))
    item = shop.api.subscriptions.retrieve(changed)["items"].data[0].id
    shop.api.subscriptions.update(changed, {"items": [{"id": item, "price": team}]})
    expected[changed] = "does not bill the current period"
    elsewhere = shop.customer("elsewhere", metadata={"billing_account": "acc_0123456789abcdef"})
    expected[shop.subscribe(elsewhere, team)] = "belongs to a billing installation"
    expected[shop.subscribe(shop.customer("public"), team)] = "the public organization"
    taken = shop.subscribe(shop.customer("acme"), team)
    expected[owing(shop, team)] = "an open invoice of another subscription"
    before = len(harness.sandbox.requests())
    for arguments in ((), ("--apply",)):
        done = run(harness, *arguments)
        assert done.returncode == 1
        for subscription, problem in expected.items():
            (line,) = [x for x in done.stdout.splitlines() if x.startswith(f"  {subscription} of")]
            assert problem in line
        assert f"Not taken: {len(expected)}\n" in done.stdout
    assert balances(harness) == [("acme", "Team", 3_000, 0)]
    acme = shop.api.subscriptions.retrieve(taken).customer
    assert shop.writes(before) == [("POST", f"/v1/customers/{acme}")]
    assert harness.rows("SELECT provider_id FROM subscriptions") == [(taken,)]


def metered(shop: OldShop) -> str:
    meter: Any = {
        "display_name": "Calls",
        "event_name": "calls",
        "default_aggregation": {"formula": "sum"},
    }
    made = shop.api.billing.meters.create(meter).id
    return shop.price("Metered", recurring=MONTH | {"usage_type": "metered", "meter": made})


def owing(shop: OldShop, price: str) -> str:
    """A live subscription of a customer whose earlier one ended with an open invoice, which a
    synchronization would void."""
    customer = shop.customer("owing")
    sent: Any = {"collection_method": "send_invoice", "days_until_due": 30}
    ended = shop.subscribe(customer, price, **sent)
    shop.api.subscriptions.cancel(ended)
    return shop.subscribe(customer, price)


async def test_known_accounts_get_the_subscription_of_their_id(
    harness: BillingHarness, shop: OldShop
) -> None:
    organization = harness.holder.organization_id
    shop.subscribe(shop.customer(metadata={"tenant": organization}), shop.price("Team"))
    nameless = shop.customer(name="", email="")
    shop.subscribe(nameless, shop.price("Solo"))
    assert run(harness, "--apply", "--id-key", "tenant").returncode == 0
    assert (await harness.live()).offer.code == "team"
    names = harness.rows("SELECT id, name FROM organizations ORDER BY created_at")
    assert names == [(organization, "Acme"), (nameless, nameless)]
    details = harness.rows("SELECT name, email FROM billing_details ORDER BY name DESC")
    assert details[0] == ("Acme Inc", "billing@acme.example")
    shop.subscribe(shop.customer(metadata={"tenant": organization}), shop.price("Third"))
    done = run(harness, "--apply", "--id-key", "tenant")
    assert "other customers have the same tenant" in done.stdout


async def test_account_with_another_customer_is_not_touched(
    harness: BillingHarness, shop: OldShop
) -> None:
    await harness.subscribed("starter")
    shop.subscribe(shop.customer(harness.holder.organization_id), shop.price("Team"))
    done = run(harness, "--apply")
    assert "Here before: 1\n" in done.stdout
    assert "the account has another customer at Stripe: cus_" in done.stdout
    assert (await harness.live()).offer.code == "starter"


async def test_mapping_file_names_executions_offers_and_use(
    harness: BillingHarness, shop: OldShop, tmp_path: Path
) -> None:
    legacy = shop.price("Legacy", executions="")
    same = shop.price("Growth", 7_900, executions="")
    other = shop.price("Other", 100, executions="")
    customer = shop.customer("acme")
    shop.subscribe(customer, legacy)
    shop.subscribe(shop.customer("beta"), same)
    shop.subscribe(shop.customer("gamma"), other)
    file = tmp_path / "map.toml"
    write(
        file,
        f'[prices.{legacy}]\nexecutions = 1234\noffer = "old-times"\n'
        f'[prices.{same}]\noffer = "growth"\n'
        f'[prices.{other}]\noffer = "scale"\n'
        f"[used]\n{customer} = 34\n",
    )
    done = run(harness, "--apply", "--map", file)
    assert "offer scale has another price, currency or interval" in done.stdout
    assert balances(harness) == [("acme", "Legacy", 1_234, 34), ("beta", "Growth", 30_000, 0)]
    adopt(harness, "beta")
    assert (await harness.live()).offer.code == "growth"
    sold = harness.rows("SELECT code, visible FROM offers WHERE code = 'old-times'")
    assert sold == [("old-times", False)]
    write(file, "[prices.x]\nprize = 3\n")
    done = run(harness, "--map", file)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "The mapping file is not valid: Object contains unknown field" in done.stderr


async def test_price_that_is_no_longer_sold_stays_archived(
    harness: BillingHarness, shop: OldShop
) -> None:
    old, current = shop.price("Old"), shop.price("Current")
    shop.subscribe(shop.customer("acme"), old)
    shop.subscribe(shop.customer("beta"), current)
    shop.api.prices.update(old, {"active": False})
    assert run(harness, "--apply", "--show-offers").returncode == 0
    codes = "SELECT code, archived_at IS NOT NULL, visible FROM offers"
    codes += " WHERE code IN ('old', 'current') ORDER BY code"
    assert harness.rows(codes) == [("current", False, True), ("old", True, True)]
    await settled(harness)
    assert shop.api.prices.retrieve(old).active is False


async def test_stripe_that_fails_stops_the_run_with_one_line(
    harness: BillingHarness, shop: OldShop
) -> None:
    price = shop.price("Team")
    for number in range(3):
        shop.subscribe(shop.customer(f"org-{number}"), price)
    harness.sandbox.fault(kind="status", status=503, method="POST", path="*/customers/*", times=99)
    done = run(harness, "--apply")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    harness.sandbox.http.delete("/_sandbox/faults")
    assert run(harness, "--apply").returncode == 0
    assert len(balances(harness)) == 3


def test_without_a_key_there_is_nothing_to_import(own_database_url: str) -> None:
    done = run_command(server_environment(own_database_url), "import", "stripe")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "STRIPE_SECRET_KEY is not set" in done.stderr
