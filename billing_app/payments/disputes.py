"""Disputes as Stripe's events describe them (docs.stripe.com/api/disputes/object)."""

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
        """From the JSON of an event. Any other status means decided: won, lost or closed."""
        dispute = payload["data"]["object"]
        details: dict[str, Any] = dispute.get("evidence_details") or {}
        due_by = details.get("due_by")
        return ProviderDispute(
            provider_id=dispute["id"],
            payment_id=dispute.get("payment_intent") or dispute["charge"],
            stage=STAGES.get(dispute["status"], DisputeStage.DECIDED),
            amount_minor=dispute["amount"],
            currency=dispute["currency"].upper(),
            opened_at=instant(dispute["created"]),
            evidence_due_at=instant(due_by) if due_by else None,
        )
