"""Whose Stripe it is: a copied database writes nothing, another account is noticed."""

from typing import Any

import pytest

from billing_app.billing.errors import BillingError
from billing_app.billing.offers.catalogue import publish_offer
from billing_app.billing.staff.repairs.provider_driver import record_failure
from billing_app.billing.subscriptions.account_runs import AccountsFailedError
from billing_app.billing.subscriptions.adoption import adopt
from billing_app.billing.subscriptions.installation import (
    ProviderNotAdoptedError,
)
from billing_app.billing.subscriptions.provider_errors import (
    ProviderKeyConflictError,
)
from billing_app.db.enums import When
from tests.factories import OPERATOR
from tests.payments.billing_harness import HOUR, BillingHarness, accepted
from tests.payments.database_copies import Copies, services_on
from tests.payments.test_overage import SOFT
from tests.payments.test_top_ups import order
from tests.stripe_sandbox.running import Sandbox

ONE_LINE = "python -m billing_app adopt"


@pytest.fixture
async def low(harness: BillingHarness) -> BillingHarness:
    return await running_low(harness)


async def running_low(harness: BillingHarness) -> BillingHarness:
    """Subscribed with a card, 500 executions left, and top-up ordered."""
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    accepted(await harness.use(4_500))
    await order(harness)
    return harness


async def adopt_here(
    harness: BillingHarness, *, new_account: bool = False, dry_run: bool = False
) -> Any:
    services = harness.services
    return await adopt(
        services.database,
        services.installation,
        record_failure,
        new_account=new_account,
        dry_run=dry_run,
        now=harness.now,
    )


def written(harness: BillingHarness) -> int:
    """Requests that the sandbox got which were no reads."""
    requests = harness.sandbox.requests()
    return sum(each["method"] != "GET" for each in requests)


async def test_copy_buys_nothing_and_the_original_goes_on(
    low: BillingHarness, copies: Copies
) -> None:
    copy = await copies.of(low)
    before = written(low)
    assert await copy.services.top_ups.run(copy.now) == 0
    assert written(low) == before
    assert copy.rows("SELECT stopped_because FROM top_ups") == [(None,)]
    assert await low.services.top_ups.run(low.now) == 1
    assert low.charged_minor() == 1_900 + 2_500


async def test_copy_counts_but_every_write_is_refused(low: BillingHarness, copies: Copies) -> None:
    copy = await copies.of(low)
    accepted(await copy.use(10))
    assert (await copy.live()).status == "active"
    before = written(low)
    live = (await copy.live()).id
    services = copy.services
    portal = services.subscriptions.portal_url(
        OPERATOR, copy.holder.account_id, return_url="http://x", now=copy.now
    )
    for write in (
        copy.begin("pack"),
        copy.change("growth"),
        services.subscriptions.cancel(OPERATOR, live, when=When.NOW, now=copy.now),
        portal,
        services.provider.expire_checkout("cs_test_1"),
        services.provider.report_usage(
            customer_id=copy.customer_id(), executions=1, identifier="x", at=copy.now
        ),
    ):
        with pytest.raises(ProviderNotAdoptedError) as refused:
            await write
        assert ONE_LINE in str(refused.value)
        assert ONE_LINE not in refused.value.detail
    assert written(low) == before
    assert copy.rows("SELECT count(*) FROM provider_writes WHERE state = 'pending'") == [(0,)]
    assert (await low.change("growth")).offer.code == "growth"


async def test_restored_dump_does_not_write(low: BillingHarness, copies: Copies) -> None:
    restored = await copies.of(low, copies.restored(low.url))
    assert await restored.services.top_ups.run(restored.now) == 0
    assert ONE_LINE in await restored.services.installation.advice()
    assert await low.services.installation.advice() == ""


async def test_copy_corrects_no_overage(harness: BillingHarness, copies: Copies) -> None:
    """The original bills 5.00; the copy, which counted 0.50, would credit 4.50 of it."""
    await publish_offer(
        harness.services.database, OPERATOR, code="soft", terms=SOFT, now=harness.now
    )
    found = await harness.subscribed("soft")
    harness.skip(120)
    accepted(await harness.use(1_100))
    copy = await copies.of(harness)
    accepted(await harness.use(900))
    await harness.services.subscriptions.reports.run(harness.now)
    harness.skip((found.period_end - harness.now).total_seconds() + 60)
    await harness.deliver()
    harness.skip(2 * HOUR)
    await harness.deliver()
    harness.skip(HOUR)
    copy.skipped_seconds = harness.skipped_seconds
    await copy.reconcile()
    assert await copy.services.subscriptions.reports.run(copy.now) == 0
    assert await copy.services.settlements.run(copy.now) == 0
    assert copy.rows("SELECT count(*) FROM overage_settlements") == [(0,)]
    assert await harness.services.settlements.run(harness.now) == 0
    assert harness.charged_minor() == 1_000 + 500 + 1_000
    pending: Any = {"customer": harness.customer_id(), "pending": True}
    assert harness.client.v1.invoice_items.list(pending).data == []


async def test_reconcile_says_that_a_copy_is_not_adopted(
    low: BillingHarness, copies: Copies
) -> None:
    copy = await copies.of(low)
    (found,) = [each for each in await copy.reconcile() if each.what == "installation"]
    assert (found.healed, found.theirs) == (False, "not adopted")
    assert [each for each in await low.reconcile() if each.what == "installation"] == []


async def test_interrupted_request_of_a_copy_waits(low: BillingHarness, copies: Copies) -> None:
    low.sandbox.fault(kind="reset", method="POST", path="/v1/subscriptions/*", times=9)
    with pytest.raises(BillingError):
        await low.change("growth")
    low.sandbox.http.delete("/_sandbox/faults")
    copy = await copies.of(low)
    low.skip(HOUR)
    copy.skipped_seconds = low.skipped_seconds
    await copy.reconcile()
    pending = "SELECT count(*) FROM provider_writes WHERE state = 'pending'"
    assert copy.rows(pending) == [(1,)]
    await low.reconcile()
    assert low.rows(pending) == [(0,)]


async def test_adopted_copy_goes_on_under_its_own_mark(low: BillingHarness, copies: Copies) -> None:
    copy = await copies.of(low)
    ((mark,),) = low.rows("SELECT mark FROM provider_identity")
    assert (await adopt_here(copy, dry_run=True)).was_copy
    assert await copy.services.top_ups.run(copy.now) == 0
    assert (await adopt_here(copy)).was_copy
    ((new_mark, earlier),) = copy.rows("SELECT mark, earlier_marks FROM provider_identity")
    assert new_mark != mark
    assert earlier == [mark]
    assert await copy.services.top_ups.run(copy.now) == 1
    keys = [each["idempotency_key"] for each in low.sandbox.requests() if each["method"] == "POST"]
    assert keys[-1].startswith(f"{new_mark}:")
    await copy.deliver()
    assert await copy.reconcile() == []
    done = await adopt_here(copy)
    assert (done.was_copy, done.detached) == (False, None)


async def test_marks_are_in_keys_and_metadata(low: BillingHarness) -> None:
    ((mark,),) = low.rows("SELECT mark FROM provider_identity")
    assert mark
    customer = low.client.v1.customers.retrieve(low.customer_id())
    assert customer.metadata is not None
    assert customer.metadata["billing_installation"] == mark
    ours = [each for each in low.sandbox.requests() if each["path"] == "/v1/customers"]
    assert ours[0]["idempotency_key"] == f"{mark}:customer-{low.holder.account_id}"


async def test_installations_on_one_account_leave_each_other_alone(
    low: BillingHarness, copies: Copies
) -> None:
    """A second installation's customers are no differences, and their keys never meet."""
    metadata = {"billing_account": low.holder.account_id, "billing_installation": "another"}
    low.client.v1.customers.create({"name": "Elsewhere", "metadata": metadata})
    await low.deliver()
    assert await low.reconcile() == []


async def test_upgrade_in_place_keeps_keys_of_what_is_pending(
    harness: BillingHarness, own_database_url: str
) -> None:
    """What an older installation sent without an answer is repeated under the same key."""
    harness.services.provider.ask_before_writing(_no_mark)  # pyright: ignore[reportAttributeAccessIssue]
    await harness.subscribed("starter")
    fault = {"kind": "reset", "method": "POST", "times": 3}
    harness.sandbox.control("faults", **fault, when="after", path="/v1/checkout/sessions")
    with pytest.raises(BillingError):
        await harness.begin("pack")
    harness.sandbox.control("faults", **fault, when="before", path="/v1/subscriptions/*")
    with pytest.raises(BillingError):
        await harness.change("growth")
    upgraded = services_on(harness, own_database_url)
    await harness.services.close()
    harness.services = upgraded
    assert (await harness.change("growth")).offer.code == "growth"
    await harness.begin("pack")
    assert harness.rows("SELECT mark FROM provider_identity") == [("",)]
    assert harness.charged_minor() == 1_900 + 7_900 - 1_900
    assert len(harness.client.v1.coupons.list().data) == 1
    sessions = harness.client.v1.checkout.sessions.list({"status": "open"}).data
    assert len(sessions) == 1
    await harness.deliver()
    assert await harness.reconcile() == []


async def _no_mark() -> str:
    return ""


async def test_conflicting_key_is_the_matter_of_one_account(
    low: BillingHarness, sandbox: Sandbox
) -> None:
    """Its report is stuck, and staff see that; the next account's is sent."""
    await low.services.top_ups.switch_off(OPERATOR, low.holder.account_id)
    await publish_offer(low.services.database, OPERATOR, code="soft", terms=SOFT, now=low.now)
    holders = sorted(
        [await BillingHarness(sandbox, low.url).open_beside(low) for _ in range(2)],
        key=lambda each: each.holder.account_number,
    )
    for each in holders:
        await each.subscribed("soft")
    for each in holders:
        each.skipped_seconds = low.skipped_seconds
    low.skip(120)
    for each in holders:
        each.skipped_seconds = low.skipped_seconds
        accepted(await each.use(1_100))
    first = holders[0]
    await _take_key_of_report(first)
    with pytest.raises(AccountsFailedError) as failed:
        await low.services.subscriptions.reports.run(low.now)
    assert failed.value.accounts == {first.holder.account_id: "provider_key_conflict"}
    assert failed.value.done == 1
    states = dict(low.rows("SELECT account_id, state FROM meter_reports"))
    assert states[first.holder.account_number] == "pending"
    assert states[holders[1].holder.account_number] == "done"
    low.skip(3 * HOUR)
    (found,) = [each for each in await low.reconcile() if each.what == "overage"]
    assert found.account_id == first.holder.account_id
    for each in holders:
        await each.close()


async def _take_key_of_report(harness: BillingHarness) -> None:
    plan = harness.rows(
        "SELECT sequence FROM plans WHERE source = 'overage' AND used > 0 AND account_id ="  # noqa: S608
        f" {harness.holder.account_number}"
    )[0][0]
    day = f"{harness.now:%Y%m%d}"
    identifier = f"overage-{harness.holder.account_id}-{plan}-{day}-1"
    await harness.services.provider.report_usage(
        customer_id=harness.customer_id(), executions=7, identifier=identifier, at=harness.now
    )


async def test_conflict_is_no_outage(low: BillingHarness) -> None:
    provider = low.services.provider
    await provider.create_customer(account_id="acc_1", name="A", email=None, key="one")
    with pytest.raises(ProviderKeyConflictError):
        await provider.create_customer(account_id="acc_2", name="B", email=None, key="one")
