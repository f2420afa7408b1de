"""Signatures of webhooks, as Standard Webhooks specifies them."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.client import Webhook, WebhookError, verify_webhook

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes  ...").decode()
OTHER = "whsec_" + base64.b64encode(b"another secret of 24 byte").decode()
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
BODY = b'{"type": "balance.low", "data": {"remaining": 3}}'


def signature(secret: str, content: bytes, webhook_id: str = "msg_1", at: datetime = NOW) -> str:
    """Written from the specification: HMAC-SHA256 of id.timestamp.body, in base64, after v1."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhook_id}.{int(at.timestamp())}.".encode() + content
    return "v1," + base64.b64encode(hmac.new(key, signed, "sha256").digest()).decode()


def headers(signatures: str, webhook_id: str = "msg_1", at: datetime = NOW) -> dict[str, str]:
    return {
        "Webhook-Id": webhook_id,
        "WEBHOOK-TIMESTAMP": str(int(at.timestamp())),
        "webhook-signature": signatures,
    }


def test_signed_webhook() -> None:
    found = verify_webhook(BODY, headers(signature(SECRET, BODY)), SECRET, now=NOW)
    assert found == Webhook("msg_1", NOW, json.loads(BODY))
    assert found.type == "balance.low"


def test_published_example() -> None:
    """From the tests of the specification's own libraries."""
    moment = datetime.fromtimestamp(1614265330, UTC)
    given = headers(
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "msg_p5jXN8AQM9LWM0D4loKWxJek", moment
    )
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert verify_webhook(b'{"test": 2432232314}', given, secret, now=moment).payload == {
        "test": 2432232314
    }


def test_secret_without_padding() -> None:
    secret = "whsec_" + base64.b64encode(b"25 bytes of a secret key.").decode()
    assert secret.endswith("==")
    given = headers(signature(secret, BODY))
    assert verify_webhook(BODY, given, secret.rstrip("="), now=NOW)
    assert verify_webhook(BODY, given, secret.removeprefix("whsec_"), now=NOW)


def test_rotated_secret_and_several_signatures() -> None:
    both = f"{signature(OTHER, BODY)} {signature(SECRET, BODY)} v1a,ed25519"
    assert verify_webhook(BODY, headers(both), SECRET, now=NOW)
    old = headers(signature(OTHER, BODY))
    assert verify_webhook(BODY, old, [SECRET, OTHER], now=NOW)


@pytest.mark.parametrize(
    "signatures",
    [
        "v1,",
        "v1",
        ",",
        "v2," + signature(SECRET, BODY)[3:],
        signature(OTHER, BODY),
        signature(SECRET, BODY + b" "),
        signature(SECRET, BODY, webhook_id="msg_2"),
        signature(SECRET, BODY, at=NOW + timedelta(seconds=1)),
        signature(SECRET, BODY) + "x",
        "v1,\u00e4",
    ],
)
def test_wrong_signature(signatures: str) -> None:
    with pytest.raises(WebhookError, match="No signature"):
        verify_webhook(BODY, headers(signatures), SECRET, now=NOW)


@pytest.mark.parametrize("name", ["Webhook-Id", "WEBHOOK-TIMESTAMP", "webhook-signature"])
def test_missing_header(name: str) -> None:
    given = headers(signature(SECRET, BODY))
    del given[name]
    with pytest.raises(WebhookError, match="missing"):
        verify_webhook(BODY, given, SECRET, now=NOW)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_too_old_or_from_the_future(seconds: int) -> None:
    at = NOW + timedelta(seconds=seconds)
    given = headers(signature(SECRET, BODY, at=at), at=at)
    with pytest.raises(WebhookError, match="too old"):
        verify_webhook(BODY, given, SECRET, now=NOW)
    assert verify_webhook(BODY, given, SECRET, now=NOW, tolerance_seconds=301)


@pytest.mark.parametrize("stamp", ["", "x", "1e3", "-5", "1.5", "٣", "9" * 400, "999999999999"])
def test_timestamp_that_is_none(stamp: str) -> None:
    given = headers(signature(SECRET, BODY)) | {"WEBHOOK-TIMESTAMP": stamp}
    with pytest.raises(WebhookError):
        verify_webhook(BODY, given, SECRET, now=NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b"\xff"])
def test_signed_but_no_object(body: bytes) -> None:
    with pytest.raises(WebhookError):
        verify_webhook(body, headers(signature(SECRET, body)), SECRET, now=NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_?", "\u00e4"])
def test_secret_that_is_none(secret: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        verify_webhook(BODY, headers(signature(SECRET, BODY)), secret, now=NOW)


@given(st.binary(), st.text(max_size=40))
def test_nothing_else_passes(content: bytes, signatures: str) -> None:
    with pytest.raises(WebhookError):
        verify_webhook(content, headers(signatures or "x"), SECRET, now=NOW)
