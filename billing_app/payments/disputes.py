"""Disputes as Stripe's events tell of them (docs.stripe.com/api/disputes/object)."""

from collections.abc import Mapping
from typing import Any, Final

from billing_app.billing.subscriptions.provider import DisputeStage, ProviderDispute
from billing_app.payments.translate import instant

STAGES: Final = {
    "needs_response": DisputeStage.UNANSWERED,
    "under_review": DisputeStage.ANSWERED,
    "warning_needs_response": DisputeStage.INQUIRY,
    "warning_under_review": DisputeStage.INQUIRY,
}


class StripeDisputes:
    """Implements billing's ProviderDisputes."""

    event_types = "charge.dispute."

    def dispute_of(self, payload: Mapping[str, Any]) -> ProviderDispute:
        """Of an event's plain JSON. Statuses that are not known are decided: won, lost, closed."""
        found = payload["data"]["object"]
        details: dict[str, Any] = found.get("evidence_details") or {}
        due_by = details.get("due_by")
        return ProviderDispute(
            provider_id=found["id"],
            payment_id=found.get("payment_intent") or found["charge"],
            stage=STAGES.get(found["status"], DisputeStage.DECIDED),
            amount_minor=found["amount"],
            currency=found["currency"].upper(),
            opened_at=instant(found["created"]),
            evidence_due_at=instant(due_by) if due_by else None,
        )
