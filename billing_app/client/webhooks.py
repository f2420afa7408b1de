"""Webhooks that the server sends, signed by Standard Webhooks (standardwebhooks.com, version 1)."""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from .errors import WebhookError

SECRET_PREFIX: Final = "whsec_"  # noqa: S105
VERSION: Final = "v1"
TOLERANCE_SECONDS: Final = 300
_is_timestamp: Final = re.compile(r"[0-9]{1,12}", re.ASCII).fullmatch
_decoder: Final = msgspec.json.Decoder(dict[str, Any])


class Webhook(msgspec.Struct, frozen=True):
    """A delivery proven to be the server's. Deliveries repeat: handle each `id` once."""

    id: str
    sent_at: datetime
    payload: dict[str, Any]

    @property
    def type(self) -> str:
        """What happened, such as `account.state_changed`."""
        return str(self.payload.get("type", ""))


def verify_webhook(
    content: bytes,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    now: datetime | None = None,
    tolerance_seconds: int = TOLERANCE_SECONDS,
) -> Webhook:
    """Check the raw body of a request. While a secret is rotated, give both.

    Raises WebhookError: a header is missing, the signature is another's, or the time is too far
    from `now`. Raises ValueError for a secret that is none.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    webhook_id, timestamp, signatures = (
        _field(fields, f"webhook-{name}") for name in ("id", "timestamp", "signature")
    )
    sent_at = _sent_at(timestamp, now or datetime.now(UTC), tolerance_seconds)
    signed = b".".join((webhook_id.encode(), timestamp.encode(), content))
    keys = [_key(each) for each in ([secrets] if isinstance(secrets, str) else secrets)]
    if not any(_is_signed(signed, key, signatures) for key in keys):
        raise WebhookError("No signature of the webhook is by this secret.")
    try:
        return Webhook(webhook_id, sent_at, _decoder.decode(content))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WebhookError(f"The webhook is no JSON object: {error}") from None


def _field(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name)
    if not value:
        raise WebhookError(f"The header {name} is missing.")
    return value


def _sent_at(timestamp: str, now: datetime, tolerance_seconds: int) -> datetime:
    if not _is_timestamp(timestamp):
        raise WebhookError("webhook-timestamp is not a number of seconds.")
    if abs(now.timestamp() - int(timestamp)) > tolerance_seconds:
        raise WebhookError("The webhook is too old, or from the future.")
    return datetime.fromtimestamp(int(timestamp), UTC)


def _is_signed(signed: bytes, key: bytes, signatures: str) -> bool:
    expected = base64.b64encode(hmac.digest(key, signed, "sha256"))
    found = [each.partition(",") for each in signatures.split(" ")]
    given = [value.encode() for version, _, value in found if version == VERSION]
    return any(hmac.compare_digest(each, expected) for each in given)


def _key(secret: str) -> bytes:
    """Its padding may be missing."""
    text = secret.removeprefix(SECRET_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("A webhook secret is base64, after whsec_.")
    return key
