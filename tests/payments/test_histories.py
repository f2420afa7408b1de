"""Random histories of one customer at Stripe: charged = shown, given = paid for, never two charges
for one wish, never two live subscriptions; reconciliation heals the rest or tells it.

HISTORIES=200 tries so many new ones instead of the few that are always the same.
"""

import os
from collections import Counter
from contextlib import suppress
from typing import Any, Final

import stripe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_app.billing.errors import BillingError
from billing_app.billing.executions.verification import verify
from tests.databases import DatabasePool
from tests.payments.billing_harness import BillingHarness, fresh_harness
from tests.payments.histories import (
    ACTS,
    CHANGE,
    COUNTRIES,
    RENEWAL,
    History,
    Paid,
    paid_by_stripe,
)
from tests.stripe_sandbox.running import Sandbox

SEARCHED: Final = int(os.environ.get("HISTORIES", "0"))


@settings(
    max_examples=SEARCHED or 8,
    deadline=None,
    derandomize=not SEARCHED,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=st.lists(ACTS, min_size=6, max_size=14), country=COUNTRIES)
async def test_what_was_paid_for_is_given_once(
    sandbox_process: Sandbox,
    database_pool: DatabasePool,
    acts: list[tuple[str, Any]],
    country: str | None,
) -> None:
    is_taxed = country is not None
    async with fresh_harness(sandbox_process, database_pool, stripe_tax=is_taxed) as harness:
        await harness.subscribed("starter", country=country or "US")
        harness.use_card("pm_card_visa")
        history = History(harness)
        for kind, what in acts:
            with suppress(BillingError, stripe.StripeError):
                await history.act(kind, what)
            _require_one_live(harness)
        await history.settle()
        await harness.reconcile()
        await harness.deliver()
        assert await harness.reconcile() == []
        assert await verify(harness.services.database) == []
        _require_one_live(harness)
        paid = paid_by_stripe(harness)
        _require_each_wish_once(paid, history.wishes)
        _require_given_is_paid_for(harness, paid)
        _require_payments_mirrored(harness)
        assert sandbox_process.take_violations() == []


def _require_one_live(harness: BillingHarness) -> None:
    ended = ("canceled", "incomplete_expired", "incomplete")
    assert len([each for each in harness.subscriptions() if each.status not in ended]) <= 1


def _require_each_wish_once(paid: dict[str, Paid], wishes: Counter[str]) -> None:
    billed = Counter(each.reason for each in paid.values() if each.status in ("open", "paid"))
    for reason, times in wishes.items():
        assert billed[reason] <= times, reason
    assert all(each.payments <= 1 for each in paid.values())


def _require_given_is_paid_for(harness: BillingHarness, paid: dict[str, Paid]) -> None:
    """A change by us may count against its plan what was used since."""
    plans: dict[str, list[dict[str, Any]]] = {}
    for plan in harness.plans():
        if plan["source"] in ("subscription", "pack"):
            plans.setdefault(plan["source_reference"].partition(":")[0], []).append(plan)
    for invoice_id, given_plans in plans.items():
        one = paid[invoice_id]
        assert one.status == "paid" or one.reason == RENEWAL or given_plans[0]["ended_because"]
    for one in paid.values():
        if one.status != "paid" or one.executions == 0:
            continue
        given_plans = plans.get(one.invoice_id, [])
        if one.reason != CHANGE:
            assert sum(plan["executions"] for plan in given_plans) == one.executions
        for plan in given_plans:
            _require_fate(plan, one.fate)


def _require_fate(plan: dict[str, Any], fate: str) -> None:
    if fate == "ended":
        assert plan["ended_because"]
    elif fate == "suspended":
        assert plan["suspended_at"] or plan["ended_because"]
    else:
        assert plan["suspended_at"] is None


def _require_payments_mirrored(harness: BillingHarness) -> None:
    [(ours,)] = harness.rows("SELECT coalesce(sum(amount_paid_minor), 0) FROM invoices")
    assert ours == sum(each.amount_paid for each in harness.invoices())
    assert ours == harness.charged_minor()
