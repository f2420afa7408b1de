"""Account alerts: why executions are, or soon will be, refused; and the result of checkouts."""

from datetime import timedelta

import pytest

from billing_app.billing.accounts.service import list_accounts, list_managers
from billing_app.billing.actors import UserActor
from billing_app.billing.errors import AccountNotFoundError, ForbiddenError
from billing_app.billing.subscriptions.account_alerts import Stop, StopKind, read_stop
from billing_app.billing.subscriptions.checkouts import CheckoutView
from billing_app.db.enums import CheckoutStatus
from tests import factories
from tests.factories import OPERATOR
from tests.payments.billing_harness import (
    DAY,
    DISPUTED,
    GRACE_DAYS,
    HOUR,
    BillingHarness,
    type_card,
)

pytestmark = pytest.mark.stripe_test_mode


async def stop(harness: BillingHarness) -> Stop | None:
    return await read_stop(
        harness.services.database, OPERATOR, harness.holder.account_id, harness.now
    )


async def fail_the_renewal(harness: BillingHarness) -> None:
    first = await harness.subscribed("starter")
    harness.use_card("pm_card_chargeCustomerFail")
    harness.skip((first.period_end - harness.now).total_seconds() + 60)
    await harness.deliver()
    assert await stop(harness) is None, "the renewal is a draft yet"
    harness.skip(2 * HOUR)
    await harness.deliver()


async def test_overdue_account_is_warned_in_grace_then_refused_then_restored(
    harness: BillingHarness,
) -> None:
    await fail_the_renewal(harness)
    found = await stop(harness)
    assert found is not None
    assert (found.kind, found.is_in_force) == (StopKind.PAST_DUE, False)
    assert (found.amount_due_minor, found.currency) == (1_900, "USD")
    grace = found.at - (await harness.live()).period_start
    assert timedelta(days=GRACE_DAYS) <= grace <= timedelta(days=GRACE_DAYS, hours=2)
    assert found.page_url.startswith(harness.sandbox.url)
    assert found.executions_elsewhere == 0
    harness.skip(GRACE_DAYS * DAY)
    later = await stop(harness)
    assert later is not None
    assert later.is_in_force
    assert await harness.denied() == "payment_past_due"
    type_card(found.page_url)
    await harness.deliver()
    assert await stop(harness) is None
    assert await harness.denied() == ""


async def test_pack_stays_usable_while_subscription_is_overdue(harness: BillingHarness) -> None:
    type_card((await harness.begin("pack")).checkout_url)
    await harness.deliver()
    await fail_the_renewal(harness)
    found = await stop(harness)
    assert found is not None
    assert found.executions_elsewhere == 10_000


async def test_dispute_pause_and_block_are_shown(harness: BillingHarness) -> None:
    await harness.subscribed("starter", DISPUTED)
    found = await stop(harness)
    assert found is not None
    assert (found.kind, found.is_in_force, found.amount_due_minor) == (StopKind.DISPUTED, True, 0)
    with factories.connect(harness.url) as connection:
        connection.execute("UPDATE plans SET suspended_at = NULL, paused_at = now()")
    found = await stop(harness)
    assert found is not None
    assert found.kind is StopKind.PAUSED
    with factories.connect(harness.url) as connection:
        connection.execute("UPDATE plans SET blocked_at = now()")
    found = await stop(harness)
    assert found is not None
    assert found.kind is StopKind.BLOCKED


async def last_checkout(harness: BillingHarness) -> CheckoutView:
    found = await harness.services.subscriptions.last_checkout(OPERATOR, harness.holder.account_id)
    assert found is not None
    return found


async def test_return_from_checkout_before_its_event_shows_the_result(
    harness: BillingHarness,
) -> None:
    subscriptions = harness.services.subscriptions
    assert await subscriptions.last_checkout(OPERATOR, harness.holder.account_id) is None
    url = (await harness.begin("starter")).checkout_url
    await subscriptions.sync_checkout(OPERATOR, harness.holder.account_id, now=harness.now)
    left = await last_checkout(harness)
    assert (left.status, left.url, left.is_paid) == (CheckoutStatus.OPEN, url, False)
    type_card(url)
    await subscriptions.sync_checkout(OPERATOR, harness.holder.account_id, now=harness.now)
    paid = await last_checkout(harness)
    assert (paid.status, paid.url, paid.is_paid) == (CheckoutStatus.COMPLETE, None, True)
    assert (await harness.live()).status == "active"


async def test_card_on_file_is_charged_only_with_consent(
    harness: BillingHarness,
) -> None:
    await harness.begin("starter")
    harness.use_card("pm_card_visa")
    begun = await harness.services.subscriptions.begin(
        OPERATOR,
        harness.holder.account_id,
        offer_code="starter",
        success_url="http://localhost:3000/done",
        cancel_url="http://localhost:3000/left",
        now=harness.now,
        through_checkout=True,
    )
    assert begun.checkout_url is not None
    assert harness.charged_minor() == 0


@pytest.mark.parametrize("role", ["owner", "billing_admin", "member"])
async def test_only_managers_manage_and_members_see_who_can(
    harness: BillingHarness, role: str
) -> None:
    user_id = factories.member(harness.url, harness.holder.organization_id, role)
    actor = UserActor(user_id=user_id, name="", email="")
    (account,) = await list_accounts(harness.services.database, actor)
    assert account.may_manage is (role != "member")
    names = await list_managers(harness.services.database, actor, harness.holder.account_id)
    assert names == ([user_id] if role != "member" else [])
    settle = harness.services.subscriptions.sync_checkout
    if role == "member":
        with pytest.raises(ForbiddenError):
            await settle(actor, harness.holder.account_id, now=harness.now)


async def test_strangers_get_no_account_data(harness: BillingHarness) -> None:
    stranger = UserActor(
        user_id=factories.member(
            harness.url, factories.organization(harness.url).organization_id, "owner"
        ),
        name="",
        email="",
    )
    database, account_id = harness.services.database, harness.holder.account_id
    for call in (
        read_stop(database, stranger, account_id, harness.now),
        list_managers(database, stranger, account_id),
        harness.services.subscriptions.last_checkout(stranger, account_id),
        harness.services.subscriptions.sync_checkout(stranger, account_id, now=harness.now),
    ):
        with pytest.raises(AccountNotFoundError):
            await call
