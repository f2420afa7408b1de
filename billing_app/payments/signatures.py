"""Is an event really Stripe's? (docs.stripe.com/webhooks/signature)"""

import json
from typing import Final

import structlog

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions.provider import EventFacts

TOLERANCE_SECONDS: Final = 300

log = structlog.get_logger(__name__)


class SignatureError(BillingError):
    """Not signed with our secret, or signed too long ago."""

    code = "invalid_signature"
    title = "The signature is not valid"


def read_event(body: bytes, signature: str, secret: str) -> EventFacts:
    """The event of a signed body. Raises SignatureError."""
    import stripe

    from billing_app.payments import translate

    try:
        stripe.WebhookSignature.verify_header(  # pyright: ignore[reportUnknownMemberType]
            body.decode(), signature, secret, tolerance=TOLERANCE_SECONDS
        )
        return translate.event_facts_of(json.loads(body))
    except (stripe.SignatureVerificationError, UnicodeDecodeError) as error:
        log.warning("webhook_refused", reason=str(error))
        raise SignatureError from None
    except (ValueError, KeyError, TypeError):
        raise SignatureError("The body is not an event.") from None
