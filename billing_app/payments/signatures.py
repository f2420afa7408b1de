"""Verifies the signature of a webhook event (docs.stripe.com/webhooks/signature)."""

import time
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
    livemode: bool | None = None
    account: Identifier | None = None


log = structlog.get_logger(__name__)


class SignatureError(BillingError):
    """Not signed with our secret, or the signature is too old or from the future."""

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
        _require_past(signature)
        return translate.provider_event_of(_payload(body))
    except (stripe.SignatureVerificationError, UnicodeError) as error:
        log.warning("webhook_refused", reason=str(error))
        raise SignatureError from None
    except (msgspec.DecodeError, RecursionError) as error:
        log.warning("webhook_refused", reason=f"not an event: {error}")
        raise SignatureError("The body is not an event.") from None


class ForeignEventError(BillingError):
    """A webhook event of the other mode, or of a connected account: nothing of it is stored."""

    code = "foreign_event"
    title = "This event belongs to another Stripe account or mode"


def require_own(event: ProviderEvent, *, is_live: bool, account_id: str | None) -> None:
    """`is_live`: the key's mode; `account_id`: the key's account, as far as it is known. An event
    names an account only if it happened in a connected one (docs.stripe.com/connect/webhooks).

    Raises ForeignEventError and logs why.
    """
    mode = event.payload.get("livemode")
    account = event.payload.get("account")
    if mode is not None and mode is not is_live:
        wanted = "live" if is_live else "test"
        reason = f"livemode is {mode}, but STRIPE_SECRET_KEY is a {wanted} key"
    elif account is not None and account != account_id:
        reason = f"it is of the connected account {account}"
    else:
        return
    log.warning("webhook_refused", reason=reason, event_id=event.id, event_type=event.type)
    raise ForeignEventError


def _require_past(signature: str) -> None:
    """The SDK accepts any time in the future. To be called with a header that it accepted."""
    import stripe

    stamp = next(part[2:] for part in signature.split(",") if part.startswith("t="))
    if int(stamp) > time.time() + SIGNATURE_AGE_SECONDS:
        raise stripe.SignatureVerificationError("Timestamp is in the future", signature)


def _payload(body: bytes) -> dict[str, Any]:
    """Raises msgspec.DecodeError. PostgreSQL stores no NUL, so U+FFFD replaces it."""
    text = body.replace(b"\\u0000", b"\\ufffd")
    msgspec.json.decode(text, type=_Event)
    return msgspec.json.decode(text)
