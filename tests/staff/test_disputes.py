"""Staff are told of a disputed payment: how much, since when, what it stopped, where to answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from billing_app.billing.actors import StaffActor, UserActor
from billing_app.billing.errors import ForbiddenError
from billing_app.billing.plans.service import read_history
from billing_app.billing.staff.customers.account import read_identity
from billing_app.billing.staff.customers.disputes import Dispute, Disputes, undecided
from billing_app.billing.staff.operations.provider_events import EventQuery, list_received
from billing_app.billing.subscriptions.account_alerts import Stop, StopKind, read_stop
from billing_app.billing.subscriptions.provider import DisputeStage, ProviderDispute
from billing_app.db.enums import StaffRole
from billing_app.payments.dashboard import Dashboard
from billing_app.payments.disputes import StripeDisputes
from billing_app.states.staff.account_alerts import dispute_lines
from billing_app.states.staff.customer_views import plan_line
from billing_app.states.staff.customers import customer_status
from tests.factories import connect
from tests.payments.billing_harness import DISPUTED, BillingHarness, accepted, look, type_card

SUPPORT = StaffActor("usr_support", "Sam", StaffRole.SUPPORT)
DAYS_TO_ANSWER = 7
AT = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
TOLD = ProviderDispute("du_1", "pi_1", DisputeStage.UNANSWERED, 1_900, "USD", AT, None)
SHOWN = Dispute(1_900, "USD", AT, "Starter", True, AT + timedelta(days=7), False, "")


async def read(harness: BillingHarness) -> list[Dispute]:
    return await harness.services.disputes.read(SUPPORT, harness.holder.account_id, harness.now)


async def disputed(harness: BillingHarness) -> Any:
    """A subscription whose payment is disputed at once; the dispute at Stripe."""
    await harness.subscribed("starter", DISPUTED)
    (found,) = harness.client.v1.disputes.list().data
    return found


async def answer(harness: BillingHarness, evidence: str) -> None:
    (found,) = harness.client.v1.disputes.list().data
    told: Any = {"evidence": {"uncategorized_text": evidence}, "submit": True}
    harness.client.v1.disputes.update(found.id, told)
    await harness.deliver()


async def test_dispute_shows_amount_plan_and_deadline(harness: BillingHarness) -> None:
    theirs = await disputed(harness)
    (found,) = await read(harness)
    assert (found.amount_minor, found.currency) == (1_900, "USD")
    assert found.since == datetime.fromtimestamp(theirs.created, UTC)
    assert found.evidence_due_at == found.since + timedelta(days=DAYS_TO_ANSWER)
    assert (found.plan_name, found.stops_plan, found.is_answered) == ("Starter", True, False)
    assert "Invoice" in look(found.provider_url), "the sandbox has a page for invoices alone"
    at_stripe = Disputes(harness.services.database, Dashboard("sk_test_x"), StripeDisputes())
    (found,) = await at_stripe.read(SUPPORT, harness.holder.account_id, harness.now)
    payments = "https://dashboard.stripe.com/test/payments"
    assert found.provider_url == f"{payments}/{theirs.payment_intent}"


async def test_dispute_is_shown_until_the_bank_decides(harness: BillingHarness) -> None:
    await disputed(harness)
    await answer(harness, "Here is what they used")
    (found,) = await read(harness)
    assert found.is_answered
    harness.client.v1.disputes.close(harness.client.v1.disputes.list().data[0].id)
    await harness.deliver()
    assert await read(harness) == []


@pytest.mark.parametrize("evidence", ["winning_evidence", "losing_evidence"])
async def test_decided_dispute_is_hidden(harness: BillingHarness, evidence: str) -> None:
    await disputed(harness)
    await answer(harness, evidence)
    assert await read(harness) == []
    links = harness.services.links
    who = await read_identity(
        harness.services.database, links, SUPPORT, harness.holder.account_id, harness.now
    )
    assert who.row.disputed_since is None


async def test_suspended_plan_shows_dispute_without_event(harness: BillingHarness) -> None:
    """As with events from before their customer was noted on them."""
    await disputed(harness)
    (whole,) = await read(harness)
    with connect(harness.url) as connection:
        connection.execute(
            "UPDATE webhook_events SET customer_id = '' WHERE type LIKE 'charge.dispute.%'"
        )
    (found,) = await read(harness)
    assert found == replace(whole, evidence_due_at=None)


async def test_depleted_plan_is_not_stopped(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    accepted(await harness.use(5_000))
    (charge,) = harness.charges()
    harness.sandbox.control("disputes", charge=charge.id, reason="fraudulent", amount=900)
    await harness.deliver()
    (found,) = await read(harness)
    assert (found.plan_name, found.stops_plan, found.amount_minor) == ("Starter", False, 900)


async def test_plan_shows_suspension(harness: BillingHarness) -> None:
    await disputed(harness)
    assert await states(harness) == ["Suspended"]
    await answer(harness, "winning_evidence")
    assert await states(harness) == ["In use"]


async def states(harness: BillingHarness) -> list[str]:
    found = await read_history(
        harness.services.database, SUPPORT, harness.holder.account_id, now=harness.now
    )
    return [plan_line(plan).state for plan in found.items]


async def test_dispute_event_and_badge_are_the_accounts_own(harness: BillingHarness) -> None:
    await disputed(harness)
    database, links, account_id = (
        harness.services.database,
        harness.services.links,
        harness.holder.account_id,
    )
    page = await list_received(
        database, links, SUPPORT, EventQuery(type="charge.dispute.", account_id=account_id)
    )
    assert [event.account_id for event in page.items] == [account_id] * len(page.items) != []
    who = await read_identity(database, links, SUPPORT, account_id, harness.now)
    assert customer_status(who.row) == ("Disputed", "bad")


async def test_other_account_shows_no_dispute(harness: BillingHarness) -> None:
    await disputed(harness)
    beside = await BillingHarness(harness.sandbox, harness.url).open_beside(harness)
    try:
        await beside.subscribed("starter")
        assert await read(beside) == []
    finally:
        await beside.close()
    holder = UserActor("usr_holder", "Ada", "ada@example.com")
    with pytest.raises(ForbiddenError):
        await harness.services.disputes.read(holder, harness.holder.account_id, harness.now)


async def test_alert_names_executions_left_in_other_plans(harness: BillingHarness) -> None:
    type_card((await harness.begin("pack")).checkout_url)
    await harness.deliver()
    await disputed(harness)
    stop = await read_stop(
        harness.services.database, SUPPORT, harness.holder.account_id, harness.now
    )
    (line,) = dispute_lines(await read(harness), stop, harness.now)
    assert line.title.startswith("$19.00 for Starter has been disputed since ")
    assert line.title.endswith("The plan is suspended until the bank decides.")
    assert line.text.startswith("Submit evidence at Stripe by ")
    assert line.text.endswith("Other plans still have 10,000 executions.")


@pytest.mark.parametrize(
    ("dispute", "title", "told"),
    [
        (SHOWN, "The plan is suspended", "Submit evidence at Stripe by 27 Nov 2026, 09:30 UTC"),
        (replace(SHOWN, evidence_due_at=AT), "The plan is suspended", "Evidence was due by"),
        (
            replace(SHOWN, evidence_due_at=None),
            "The plan is suspended",
            "See Stripe for the evidence",
        ),
        (replace(SHOWN, is_answered=True), "The plan is suspended", "Evidence submitted"),
        (replace(SHOWN, stops_plan=False), "The plan had already ended", "Submit evidence"),
        (
            replace(SHOWN, plan_name="", stops_plan=False),
            "No plan depends on it",
            "Submit evidence",
        ),
    ],
)
def test_dispute_wording(dispute: Dispute, title: str, told: str) -> None:
    stop = Stop(StopKind.DISPUTED, "Starter", AT, True, 0, "", "", 5)
    (line,) = dispute_lines([dispute], stop, AT + timedelta(days=1))
    assert title in line.title
    assert line.text.startswith(told)
    assert line.text.endswith("have 5 executions.") is dispute.stops_plan


def test_decision_stays_despite_event_of_same_second() -> None:
    stages = (DisputeStage.UNANSWERED, DisputeStage.ANSWERED, DisputeStage.DECIDED)
    other = replace(TOLD, provider_id="du_2")
    for order in permutations(stages):
        told = [replace(TOLD, stage=stage) for stage in order]
        assert undecided([other, *told]) == [other]


def test_inquiry_is_a_dispute_only_once_escalated() -> None:
    inquiry = replace(TOLD, stage=DisputeStage.INQUIRY)
    assert undecided([inquiry]) == []
    assert undecided([inquiry, TOLD]) == [TOLD]
