"""Verifies the signature of a webhook event (docs.stripe.com/webhooks/signature)."""

from typing import Annotated, Any, Final

import msgspec
import structlog
from msgspec import Meta

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions.provider import ProviderEvent
from billing_app.payments import translate
from billing_app.payments.replay_protection import SIGNATURE_AGE_SECONDS

YEAR_9999: Final = 253_370_764_800

_WORD: Final = r"^[\x21-\x7e]+$(?!\n)"
Identifier = Annotated[str, Meta(max_length=255, pattern=_WORD)]
EventType = Annotated[str, Meta(max_length=128, pattern=_WORD)]


class _Object(msgspec.Struct):
    id: Identifier | None = None
    customer: Identifier | None = None


class _Data(msgspec.Struct):
    object: _Object


class _Event(msgspec.Struct):
    """The members that an event must have to be stored."""

    id: Identifier
    type: EventType
    created: Annotated[int, Meta(ge=0, le=YEAR_9999)]
    data: _Data


log = structlog.get_logger(__name__)


class SignatureError(BillingError):
    """Not signed with our secret, or the signature has expired."""

    code = "invalid_signature"
    title = "Invalid signature"


def read_event(body: bytes, signature: str, secret: str) -> ProviderEvent:
    """The event in a signed body. Raises SignatureError and logs why."""
    import stripe

    try:
        signature.encode("ascii")  # Stripe's comparison raises TypeError for anything else
        stripe.WebhookSignature.verify_header(  # pyright: ignore[reportUnknownMemberType]
            body.decode(), signature, secret, tolerance=SIGNATURE_AGE_SECONDS
        )
        return translate.provider_event_of(_payload(body))
    except (stripe.SignatureVerificationError, UnicodeError) as error:
        log.warning("webhook_refused", reason=str(error))
        raise SignatureError from None
    except (msgspec.DecodeError, RecursionError) as error:
        log.warning("webhook_refused", reason=f"not an event: {error}")
        raise SignatureError("The body is not an event.") from None


def _payload(body: bytes) -> dict[str, Any]:
    """Raises msgspec.DecodeError. PostgreSQL stores no NUL, so U+FFFD replaces it."""
    text = body.replace(b"\\u0000", b"\\ufffd")
    msgspec.json.decode(text, type=_Event)
    return msgspec.json.decode(text)
