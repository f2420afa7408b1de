"""What an account has, as pages are given it."""

from datetime import UTC, datetime
from typing import Final

from billing_app.billing.plans.service import CurrentPlan
from billing_app.billing.subscriptions.account_summary import AccountSummary
from billing_app.billing.subscriptions.service import SubscriptionView

NOW: Final = datetime(2026, 11, 26, 12, tzinfo=UTC)


def summary_of(
    found: CurrentPlan,
    subscription: SubscriptionView | None = None,
    *,
    is_used_up: bool = False,
    now: datetime = NOW,
) -> AccountSummary:
    return AccountSummary(found, subscription, now, is_used_up)
