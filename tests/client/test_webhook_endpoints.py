"""Services manage their webhook endpoints through both clients, and read what was delivered."""

import pytest

from billing_app.client import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
    verify_webhook,
)
from billing_app.client.webhook_calls import CREATE_ENDPOINT
from tests.client.driven import Driven
from tests.client.faulty import Fault, FaultyServer
from tests.client.test_webhooks import BODY, NOW, headers, signature
from tests.factories import Holder, connect

URL = "https://hooks.example.com/billing"


@pytest.fixture
def endpoint_id(driven: Driven, holder: Holder) -> str:
    made = driven.create_webhook_endpoint(URL, organization_id=holder.organization_id)
    return made.endpoint.id


def test_endpoint_is_made_changed_and_deleted(driven: Driven, holder: Holder) -> None:
    org = holder.organization_id
    made = driven.create_webhook_endpoint(
        URL, types=["plan.ended"], description="Ops", organization_id=org
    ).endpoint
    assert (made.organization_id, made.url, made.types) == (org, URL, ["plan.ended"])
    assert driven.webhook_endpoint(made.id) == made
    assert driven.webhook_endpoints(org).items == [made]
    paused = driven.change_webhook_endpoint(made.id, paused=True, description="")
    assert (paused.status, paused.description) == ("paused", "")
    assert (paused.url, paused.types) == (URL, ["plan.ended"])
    resumed = driven.change_webhook_endpoint(made.id, paused=False, types=None)
    assert (resumed.status, resumed.types) == ("enabled", None)
    assert driven.change_webhook_endpoint(made.id, types=("plan.started",)).types == [
        "plan.started"
    ]
    assert driven.delete_webhook_endpoint(made.id) is None
    assert driven.each_webhook_endpoint(org) == []
    with pytest.raises(NotFoundError):
        driven.delete_webhook_endpoint(made.id)
    with pytest.raises(InvalidRequestError) as raised:
        driven.create_webhook_endpoint("http://10.0.0.1/", organization_id=org)
    assert raised.value.problem.field == "url"


def test_secrets_verify_and_are_never_printed(driven: Driven, holder: Holder) -> None:
    made = driven.create_webhook_endpoint(URL, organization_id=holder.organization_id)
    rotated = driven.rotate_webhook_secret(made.endpoint.id)
    assert rotated.endpoint.previous_secret_until is not None
    assert rotated.secret != made.secret
    for each in (made, rotated):
        assert verify_webhook(BODY, headers(signature(each.secret, BODY)), each.secret, now=NOW)
        for printed in (repr(each), str(each), f"{[each]}", str(each.__rich_repr__())):
            assert each.secret.removeprefix("whsec_") not in printed
            assert made.endpoint.id in printed


def test_deliveries_are_listed_read_and_sent_again(
    driven: Driven, endpoint_id: str, client_database_url: str
) -> None:
    sent = [driven.send_test_webhook(endpoint_id).id for _ in range(3)]
    page = driven.webhook_deliveries(endpoint_id, limit=2)
    assert [each.id for each in page.items] == sent[:0:-1]
    assert page.next_cursor is not None
    assert [each.id for each in driven.each_webhook_delivery(endpoint_id, limit=2)] == sent[::-1]
    assert driven.webhook_deliveries(endpoint_id, status="failed").items == []
    assert driven.webhook_deliveries(endpoint_id, type="plan.ended").items == []
    fail(client_database_url, sent[0])
    detail = driven.webhook_delivery(endpoint_id, sent[0])
    assert (detail.delivery.type, detail.delivery.status) == ("webhook.test", "failed")
    assert endpoint_id in detail.body
    assert [(each.number, each.response_status) for each in detail.attempts] == [(1, 500)]
    again = driven.redeliver_webhook(endpoint_id, sent[0])
    assert (again.message_id, again.status) == (detail.delivery.message_id, "pending")
    with pytest.raises(NotFoundError):
        driven.webhook_delivery(endpoint_id, "whd_none")


def fail(url: str, delivery_id: str) -> None:
    """What a worker writes."""
    with connect(url) as connection:
        connection.execute(
            "UPDATE webhook_deliveries SET status = 'failed', attempts = 1, response_status = 500,"
            " next_attempt_at = NULL WHERE id = %s",
            [delivery_id],
        )
        connection.execute(
            "INSERT INTO webhook_attempts (delivery_id, number, attempted_at, duration_ms,"
            " response_status, answer, error) VALUES (%s, 1, now(), 5, 500, 'Oops', '')",
            [delivery_id],
        )


def test_disabled_endpoint_sends_nothing(
    driven: Driven, endpoint_id: str, client_database_url: str
) -> None:
    with connect(client_database_url) as connection:
        connection.execute(
            "UPDATE webhook_endpoints SET status = 'disabled', disabled_at = now() WHERE id = %s",
            [endpoint_id],
        )
    with pytest.raises(ConflictError) as raised:
        driven.send_test_webhook(endpoint_id)
    assert raised.value.code == "webhook_endpoint_disabled"


def test_new_secrets_are_asked_for_once(
    impatient: Driven, faulty: FaultyServer, holder: Holder
) -> None:
    org = holder.organization_id
    faulty.plan([Fault.DROP_AFTER])
    with pytest.raises(UnavailableError, match="unclear"):
        impatient.create_webhook_endpoint(URL, organization_id=org)
    assert [each.path for each in faulty.received] == [CREATE_ENDPOINT.path]
    (made,) = impatient.webhook_endpoints(org).items
    faulty.plan([Fault.DROP_AFTER])
    with pytest.raises(UnavailableError, match="unclear"):
        impatient.rotate_webhook_secret(made.id)
    assert len(faulty.received) == 1
