"""What an account's people are told when runs stop, or soon will; and about their checkouts."""

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
from tests.payments.billing_harness import DAY, DISPUTED, GRACE_DAYS, HOUR, Bed, type_card


async def stop(bed: Bed) -> Stop | None:
    return await read_stop(bed.services.database, OPERATOR, bed.holder.account_id, bed.now)


async def fail_the_renewal(bed: Bed) -> None:
    first = await bed.subscribed("starter")
    bed.use_card("pm_card_chargeCustomerFail")
    bed.skip((first.period_end - bed.now).total_seconds() + 60)
    await bed.deliver()
    assert await stop(bed) is None, "the renewal is a draft yet"
    bed.skip(2 * HOUR)
    await bed.deliver()


async def test_overdue_in_grace_then_refused_then_paid(bed: Bed) -> None:
    await fail_the_renewal(bed)
    found = await stop(bed)
    assert found is not None
    assert (found.kind, found.is_over) == (StopKind.PAST_DUE, False)
    assert (found.amount_due_minor, found.currency) == (1_900, "USD")
    grace = found.at - (await bed.live()).period_start
    assert timedelta(days=GRACE_DAYS) <= grace <= timedelta(days=GRACE_DAYS, hours=2)
    assert found.page_url.startswith(bed.sandbox.url)
    assert found.executions_elsewhere == 0
    bed.skip(GRACE_DAYS * DAY)
    later = await stop(bed)
    assert later is not None
    assert later.is_over
    assert await bed.denied() == "payment_past_due"
    type_card(found.page_url)
    await bed.deliver()
    assert await stop(bed) is None
    assert await bed.denied() == ""


async def test_a_pack_goes_on_while_the_subscription_is_overdue(bed: Bed) -> None:
    type_card((await bed.begin("pack")).checkout_url)
    await bed.deliver()
    await fail_the_renewal(bed)
    found = await stop(bed)
    assert found is not None
    assert found.executions_elsewhere == 10_000


async def test_a_dispute_a_pause_and_a_block(bed: Bed) -> None:
    await bed.subscribed("starter", DISPUTED)
    found = await stop(bed)
    assert found is not None
    assert (found.kind, found.is_over, found.amount_due_minor) == (StopKind.DISPUTED, True, 0)
    with factories.connect(bed.url) as connection:
        connection.execute("UPDATE plans SET suspended_at = NULL, paused_at = now()")
    found = await stop(bed)
    assert found is not None
    assert found.kind is StopKind.PAUSED
    with factories.connect(bed.url) as connection:
        connection.execute("UPDATE plans SET blocked_at = now()")
    found = await stop(bed)
    assert found is not None
    assert found.kind is StopKind.BLOCKED


async def last_checkout(bed: Bed) -> CheckoutView:
    found = await bed.services.subscriptions.last_checkout(OPERATOR, bed.holder.account_id)
    assert found is not None
    return found


async def test_who_comes_back_before_the_event_is_told_the_truth(bed: Bed) -> None:
    subscriptions = bed.services.subscriptions
    assert await subscriptions.last_checkout(OPERATOR, bed.holder.account_id) is None
    url = (await bed.begin("starter")).checkout_url
    await subscriptions.settle_checkout(OPERATOR, bed.holder.account_id, now=bed.now)
    left = await last_checkout(bed)
    assert (left.status, left.url, left.is_paid) == (CheckoutStatus.OPEN, url, False)
    type_card(url)
    await subscriptions.settle_checkout(OPERATOR, bed.holder.account_id, now=bed.now)
    paid = await last_checkout(bed)
    assert (paid.status, paid.url, paid.is_paid) == (CheckoutStatus.COMPLETE, None, True)
    assert (await bed.live()).status == "active"


async def test_a_card_on_file_is_not_charged_unless_somebody_agreed(bed: Bed) -> None:
    await bed.begin("starter")
    bed.use_card("pm_card_visa")
    begun = await bed.services.subscriptions.begin(
        OPERATOR,
        bed.holder.account_id,
        offer_code="starter",
        success_url="http://localhost:3000/done",
        cancel_url="http://localhost:3000/left",
        now=bed.now,
        through_checkout=True,
    )
    assert begun.checkout_url is not None
    assert bed.charged_minor() == 0


@pytest.mark.parametrize("role", ["owner", "billing_admin", "member"])
async def test_who_may_manage_and_who_sees_who_may(bed: Bed, role: str) -> None:
    user_id = factories.member(bed.url, bed.holder.organization_id, role)
    actor = UserActor(user_id=user_id, name="", email="")
    (account,) = await list_accounts(bed.services.database, actor)
    assert account.may_manage is (role != "member")
    names = await list_managers(bed.services.database, actor, bed.holder.account_id)
    assert names == ([user_id] if role != "member" else [])
    settle = bed.services.subscriptions.settle_checkout
    if role == "member":
        with pytest.raises(ForbiddenError):
            await settle(actor, bed.holder.account_id, now=bed.now)


async def test_strangers_learn_nothing(bed: Bed) -> None:
    stranger = UserActor(
        user_id=factories.member(bed.url, factories.organization(bed.url).organization_id, "owner"),
        name="",
        email="",
    )
    database, account_id = bed.services.database, bed.holder.account_id
    for call in (
        read_stop(database, stranger, account_id, bed.now),
        list_managers(database, stranger, account_id),
        bed.services.subscriptions.last_checkout(stranger, account_id),
        bed.services.subscriptions.settle_checkout(stranger, account_id, now=bed.now),
    ):
        with pytest.raises(AccountNotFoundError):
            await call
