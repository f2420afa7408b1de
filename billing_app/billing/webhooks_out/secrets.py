"""Secrets that sign webhooks, and their rotation."""

import base64
import secrets
from datetime import datetime, timedelta
from typing import Final

from billing_app.db.tables import WebhookEndpoint

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
OVERLAP: Final = timedelta(hours=24)


def new_secret() -> str:
    """`whsec_` and base64, as Standard Webhooks writes them."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def rotate(endpoint: WebhookEndpoint, now: datetime) -> str:
    """A new secret; the one before it signs beside it for OVERLAP."""
    endpoint.previous_secret, endpoint.previous_until = endpoint.secret, now + OVERLAP
    endpoint.secret = new_secret()
    return endpoint.secret


def signing_secrets(endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    """The newest first."""
    before = endpoint.previous_secret
    is_valid = endpoint.previous_until is not None and now < endpoint.previous_until
    return [endpoint.secret, *([before] if before and is_valid else [])]
