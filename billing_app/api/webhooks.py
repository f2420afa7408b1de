"""The endpoint for Stripe's events. It answers 200 only once an event is stored."""

from typing import Any, Final

from fastapi import APIRouter, Request

from billing_app.api.callers import Now, ServicesNow
from billing_app.api.problems import BodyTooLargeError
from billing_app.api.responses import problems
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderUnavailableError,
)
from billing_app.jobs import webhooks as jobs
from billing_app.payments import signatures
from billing_app.payments.replay_protection import store_event
from billing_app.routes import STRIPE_WEBHOOKS

router = APIRouter(tags=["webhooks"])

MAX_EVENT_BYTES: Final = 1_000_000
SENT: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "Stripe-Signature",
            "in": "header",
            "required": True,
            "description": "`t=…,v1=…`, see docs.stripe.com/webhooks/signature",
            "schema": {"type": "string"},
        }
    ],
    "requestBody": {
        "required": True,
        "description": "A Stripe event; the signature covers its exact bytes",
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
}


@router.post(STRIPE_WEBHOOKS, responses=problems(400, 413, 415, 502), openapi_extra=SENT)
async def receive(request: Request, services: ServicesNow, now: Now) -> dict[str, bool]:
    """Verify the signature of the raw body, store the event once and queue it for processing."""
    secret = services.settings.stripe_webhook_secret
    if secret is None:
        raise PaymentProviderUnavailableError("STRIPE_WEBHOOK_SECRET is missing.")
    body = await _bounded_body(request)
    signature = request.headers.get("stripe-signature", "")
    event = signatures.read_event(body, signature, secret.get_secret_value())
    identity, _ = await services.installation.read()
    account_id = identity.provider_account_id if identity else None
    signatures.require_own(event, is_live=services.settings.is_live, account_id=account_id)
    if await store_event(services.database, event, now):
        await jobs.enqueue(services.database.url, event.id, event.customer_id)
    return {"received": True}


async def _bounded_body(request: Request) -> bytes:
    """Raises BodyTooLargeError before it holds more than the limit in memory."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_EVENT_BYTES:
            raise BodyTooLargeError
    return bytes(body)
