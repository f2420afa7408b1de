"""Alerts over HTTP, from the execution that crosses a threshold to the mail, with a worker."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from billing_app.db.enums import Scope, StaffRole
from tests.api.bad_input.refusals import refused
from tests.api.mailed_site import mailed_site, running_mailbox
from tests.api.server import ApiServer
from tests.conftest import PUBLIC
from tests.databases import create_database
from tests.factories import (
    Holder,
    api_key,
    connect,
    membership,
    organization,
    person,
    public_organization,
    session_token,
    staff_key,
    trial,
)
from tests.mailbox import Mailbox

LOW = {"kind": "remaining_share", "value": 20}
WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def url(server_url: str, database_template: str) -> str:
    return create_database(server_url, "alerts", database_template)


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def site(url: str, mailbox: Mailbox) -> Iterator[ApiServer]:
    with mailed_site(url, mailbox) as started:
        yield started


@pytest.fixture(scope="module")
def service(site: ApiServer, url: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {api_key(url, Scope.EXECUTIONS, Scope.ALERTS)}"}
    with httpx.Client(base_url=site.url, headers=headers, timeout=20) as client:
        yield client


@pytest.fixture
def holder(url: str) -> Holder:
    return organization(url, 10)


def of(holder: Holder) -> dict[str, str]:
    return {"organization_id": holder.organization_id}


def set_rules(service: httpx.Client, holder: Holder, *rules: dict[str, Any]) -> httpx.Response:
    return service.put("/billing/alert-rules", params=of(holder), json={"rules": list(rules)})


def consume(service: httpx.Client, holder: Holder, executions: int, key: str) -> httpx.Response:
    body = {**of(holder), "executions": executions, "mode": "consume"}
    headers = {"Idempotency-Key": key}
    return service.post("/billing/plans/check-executions", json=body, headers=headers)


def listed(service: httpx.Client, holder: Holder) -> list[dict[str, Any]]:
    answer = service.get("/billing/alerts", params=of(holder))
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def until_rules_are_known(service: httpx.Client, url: str) -> None:
    """What is set now is known to the process once a later rule of another account is."""
    other = organization(url, 1_000_000)
    assert set_rules(service, other, {"kind": "remaining_number", "value": 999_999}).is_success

    def crosses() -> bool:
        _give_back(service, other)
        return bool(listed(service, other))

    until(crosses)


def _give_back(service: httpx.Client, holder: Holder) -> None:
    """An execution that fails."""
    event = consume(service, holder, 1, f"back-{time.monotonic()}").json()["event_id"]
    headers = {"Idempotency-Key": f"refund-{event}"}
    path = f"/billing/executions/{event}/refund"
    assert service.post(path, json={"reason": "test"}, headers=headers).is_success


def test_execution_that_crosses_is_in_the_list_and_in_the_mail(
    service: httpx.Client, url: str, holder: Holder, mailbox: Mailbox
) -> None:
    owner = person(url)
    membership(url, holder.organization_id, owner.user_id, "owner")
    assert set_rules(service, holder, LOW).status_code == 200
    until_rules_are_known(service, url)
    for number in range(8):
        assert consume(service, holder, 1, f"{holder.organization_id}-{number}").is_success
    assert consume(service, holder, 1, f"{holder.organization_id}-7").is_success
    (alert,) = listed(service, holder)
    assert alert["kind"] == "remaining_share"
    assert alert["headline"] == "2 executions left"
    assert alert["figures"] == {"threshold": 20, "executions_left": 2, "executions_total": 10}
    mailbox.wait_for(owner.email, "Acme: 2 executions left")
    assert len(mailbox.to(owner.email, "Acme: 2 executions left")) == 1


def test_refusal_becomes_an_alert(service: httpx.Client, url: str, holder: Holder) -> None:
    assert set_rules(service, holder, {"kind": "execution_refused"}).status_code == 200
    for number in range(3):
        assert consume(service, holder, 11, f"{holder.organization_id}-{number}").status_code == 402
    until(lambda: bool(listed(service, holder)))
    (alert,) = listed(service, holder)
    assert alert["rule"] == "execution_refused:insufficient_executions"
    assert alert["detail"] == "An execution was refused because not enough executions are left."


def test_error_loop_becomes_an_alert(service: httpx.Client, url: str, holder: Holder) -> None:
    assert set_rules(service, holder, {"kind": "error_loop", "value": 3}).status_code == 200
    until_rules_are_known(service, url)

    def fail_and_look() -> bool:
        for _ in range(4):
            _give_back(service, holder)
        return bool(listed(service, holder))

    until(fail_and_look)
    assert listed(service, holder)[0]["kind"] == "error_loop"


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "remaining_share", "value": 0},
        {"kind": "remaining_share", "value": 101},
        {"kind": "remaining_share", "value": "20"},
        {"kind": "remaining_share", "value": 20.5},
        {"kind": "remaining_share"},
        {"kind": "no_such_kind", "value": 20},
        {"kind": "remaining_share", "value": 20, "currency": "EUR"},
        {"kind": "payment_failed", "value": 1},
        {"kind": "overage_spent", "value": 500},
        {"kind": "overage_spent", "value": 500, "currency": "eur"},
        {"kind": "remaining_number", "value": 2**63},
        {"value": 20},
        [],
        None,
    ],
)
def test_impossible_rule_is_refused(service: httpx.Client, holder: Holder, rule: Any) -> None:
    answer = set_rules(service, holder, rule)
    refused(answer, 422, "invalid_input")
    assert service.get("/billing/alert-rules", params=of(holder)).json()["is_own"] is False


def test_reason_names_the_rule(service: httpx.Client, holder: Holder) -> None:
    answer = set_rules(service, holder, LOW, {"kind": "remaining_share", "value": 101})
    assert answer.json()["field"] == "rules.1.value"
    assert "must be from 1 to 99" in answer.json()["detail"]


def test_rules_are_replaced_and_given_up(service: httpx.Client, holder: Holder) -> None:
    assert set_rules(service, holder, LOW).json()["rules"] == [LOW]
    assert set_rules(service, holder).json()["rules"] == []
    answer = service.put("/billing/alert-rules", params=of(holder), json={"rules": None})
    assert answer.json()["is_own"] is False


def test_scope_is_required(site: ApiServer, url: str, holder: Holder) -> None:
    headers = {"Authorization": f"Bearer {api_key(url, Scope.EXECUTIONS)}"}
    with httpx.Client(base_url=site.url, headers=headers, timeout=20) as client:
        refused(client.get("/billing/alerts", params=of(holder)), 403, "scope_missing")
        refused(set_rules(client, holder, LOW), 403, "scope_missing")


def test_person_sees_their_own_alerts(site: ApiServer, url: str) -> None:
    public_organization(url)
    user = person(url)
    trial(url, user.user_id, 10)
    cookies = {"billing_session": session_token(url, user.user_id)}
    with httpx.Client(base_url=site.url, cookies=cookies, timeout=20) as browser:
        assert browser.get("/billing/alerts").json() == {"items": [], "next_cursor": None}
        params = {"organization_id": PUBLIC, "user_id": user.user_id}
        assert browser.get("/billing/alert-rules", params=params).status_code == 200
        assert browser.get("/billing/alerts", params={"cursor": "x"}).status_code == 422


def test_staff_set_the_defaults(site: ApiServer, service: httpx.Client, url: str) -> None:
    holder = organization(url, 10)
    body = {"rules": [{"kind": "remaining_number", "value": 3}], "reason": "as agreed"}
    for role, status in ((StaffRole.BILLING, 403), (StaffRole.ADMIN, 200)):
        headers = {"Authorization": f"Bearer {staff_key(url, role)}"}
        answer = httpx.put(f"{site.url}/billing/admin/alert-rules", json=body, headers=headers)
        assert answer.status_code == status, answer.text
    (item,) = answer.json()["items"]
    assert (item["offer"], item["rules"]) == (None, body["rules"])
    view = service.get("/billing/alert-rules", params=of(holder)).json()
    assert (view["is_own"], view["rules"]) == (False, body["rules"])
    gone = httpx.put(
        f"{site.url}/billing/admin/alert-rules",
        json={**body, "rules": None},
        headers=headers,
    )
    assert gone.json()["items"] == []
    with connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM audit_entries WHERE action = 'edit_alert_rules'"
        ).fetchone()
    assert row == (2,)
