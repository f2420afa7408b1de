"""Where Stripe sends events: 200 only once an event is durable."""

from fastapi import APIRouter, Request

from billing_app.api.callers import Now, ServicesNow
from billing_app.api.problems import BodyTooLargeError
from billing_app.billing.subscriptions.provider import PaymentProviderUnavailableError
from billing_app.jobs import webhooks as jobs
from billing_app.payments import signatures, webhooks
from billing_app.routes import STRIPE_WEBHOOKS

router = APIRouter(tags=["webhooks"])

MAX_EVENT_BYTES = 1_000_000


@router.post(STRIPE_WEBHOOKS)
async def receive(request: Request, services: ServicesNow, now: Now) -> dict[str, bool]:
    """Check the signature on the raw body, store the event once, have it processed."""
    secret = services.settings.stripe_webhook_secret
    if secret is None:
        raise PaymentProviderUnavailableError("STRIPE_WEBHOOK_SECRET is not set.")
    body = await _bounded_body(request)
    signature = request.headers.get("stripe-signature", "")
    facts = signatures.read_event(body, signature, secret.get_secret_value())
    if await webhooks.store_event(services.database, facts, now):
        await jobs.enqueue(services.database.url, facts.id, facts.customer_id)
    return {"received": True}


async def _bounded_body(request: Request) -> bytes:
    """Raises BodyTooLargeError before more than that is held in memory."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_EVENT_BYTES:
            raise BodyTooLargeError
    return bytes(body)
