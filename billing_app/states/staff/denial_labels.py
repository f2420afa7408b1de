"""Why executions were refused, for staff."""

from typing import Final

from billing_app.db.enums import DenialReason

REASONS: Final[dict[str, str]] = {
    DenialReason.INSUFFICIENT_EXECUTIONS: "Not enough executions",
    DenialReason.PLAN_NOT_FOUND: "No plan",
    DenialReason.TRIAL_ENDED: "Trial ended",
    DenialReason.PAYMENT_PAST_DUE: "Payment overdue",
    DenialReason.BUDGET_EXCEEDED: "Overage limit reached",
    DenialReason.PLAN_PAUSED: "Plan paused",
    DenialReason.ACCOUNT_BLOCKED: "Account blocked",
}
