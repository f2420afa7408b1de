"""Check, consume, reserve and refund, single and in batches: statuses, fields, headers."""

from datetime import UTC, datetime, timedelta

import httpx

from billing_app.billing import ids
from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH
from tests.api.contract.requests import CHECK_FIELDS, ask, done, numbers, of
from tests.conftest import PUBLIC, TRIAL_EXECUTIONS
from tests.factories import Holder, add_plan, end_plan, member, organization


def test_check_is_the_default_and_counts_nothing(service: httpx.Client, holder: Holder) -> None:
    answer = done(service.post(CHECK_EXECUTIONS, json=of(holder)))
    assert list(answer) == CHECK_FIELDS
    assert (answer["allowed"], answer["mode"], answer["executions"]) == (True, "check", 1)
    assert (answer["event_id"], answer["reservation"]) == (None, None)
    assert answer["plan"] == {
        "id": ids.encode(ids.PLAN, holder.account_number, 1),
        "type": "paid",
        "name": "Plan 1",
    }
    assert answer["account_id"] == holder.account_id
    assert numbers(answer) == (15, 0, 0, 15)
    assert answer["period_end"] is None


def test_retried_consume_counts_once_and_returns_the_same_bytes(
    service: httpx.Client, holder: Holder
) -> None:
    first = ask(service, holder, "consume", 12, "k", workflow="w", user_id="u")
    answer = done(first)
    assert list(answer) == CHECK_FIELDS
    assert answer["event_id"].startswith("evt_")
    assert answer["plan"]["name"] == "Plan 2"
    assert numbers(answer) == (5, 2, 0, 3)
    assert "idempotency-replayed" not in first.headers
    again = ask(service, holder, "consume", 12, "k", workflow="w", user_id="u")
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    other = ask(service, holder, "consume", 11, "k", workflow="w", user_id="u")
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    assert numbers(done(ask(service, holder, "check", 1))) == (5, 2, 0, 3)


def test_reserve_then_commit_a_part(service: httpx.Client, holder: Holder) -> None:
    before = datetime.now(UTC)
    answer = done(ask(service, holder, "reserve", 12, "k", hold_seconds=60))
    assert list(answer) == CHECK_FIELDS
    assert answer["event_id"] is None
    assert numbers(answer) == (15, 0, 12, 3)
    expires_at = datetime.fromisoformat(answer["reservation"]["expires_at"])
    assert before < expires_at - timedelta(seconds=59) < datetime.now(UTC) + timedelta(seconds=1)
    path = f"/billing/reservations/{answer['reservation']['id']}"
    committed = service.post(f"{path}/commit", json={"executions": 4})
    settled = done(committed)
    assert settled["reservation"] == {"id": answer["reservation"]["id"], "status": "committed"}
    assert (settled["executions"], settled["executions_released"]) == (4, 8)
    assert numbers(settled) == (15, 4, 0, 11)
    again = service.post(f"{path}/commit", json={"executions": 4})
    assert again.content == committed.content
    assert again.headers["idempotency-replayed"] == "true"
    conflict = service.post(f"{path}/release")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "reservation_settled")
    receipt = done(service.get(f"/billing/executions/{settled['event_id']}"))
    assert receipt["kind"] == "commit"
    assert receipt["refers_to"] == answer["reservation"]["id"]


def test_commit_without_a_body_takes_all(service: httpx.Client, holder: Holder) -> None:
    held = done(ask(service, holder, "reserve", 4, "k"))["reservation"]["id"]
    settled = done(service.post(f"/billing/reservations/{held}/commit"))
    assert (settled["executions"], settled["executions_released"]) == (4, 0)


def test_release_frees_the_executions(service: httpx.Client, holder: Holder) -> None:
    held = done(ask(service, holder, "reserve", 15, "k"))["reservation"]["id"]
    denied = ask(service, holder, "check", 1)
    assert denied.status_code == 402
    released = done(service.post(f"/billing/reservations/{held}/release"))
    assert released["reservation"]["status"] == "released"
    assert released["event_id"] is None
    assert numbers(released) == (15, 0, 0, 15)
    again = service.post(f"/billing/reservations/{held}/release")
    assert again.headers["idempotency-replayed"] == "true"
    late = service.post(f"/billing/reservations/{held}/commit")
    assert (late.status_code, late.json()["code"]) == (409, "reservation_settled")


def test_receipt_shows_full_and_partial_refunds(service: httpx.Client, holder: Holder) -> None:
    event = done(ask(service, holder, "consume", 12, "k", workflow="w", user_id="u"))["event_id"]
    path = f"/billing/executions/{event}"
    part = done(service.post(f"{path}/refund", json={"executions": 3, "reason": "failed"}))
    assert part["refund_of"] == event
    assert (part["executions"], part["executions_refundable"]) == (3, 9)
    assert part["reason"] == "failed"
    assert numbers(part) == (15, 9, 0, 6)
    headers = {"Idempotency-Key": "refund"}
    rest = service.post(f"{path}/refund", json={"reason": "all"}, headers=headers)
    assert numbers(done(rest)) == (15, 0, 0, 15)
    again = service.post(f"{path}/refund", json={"reason": "all"}, headers=headers)
    assert again.content == rest.content
    assert again.headers["idempotency-replayed"] == "true"
    more = service.post(f"{path}/refund", json={"executions": 1, "reason": "more"})
    assert (more.status_code, more.json()["code"]) == (409, "refund_exceeds_event")
    assert more.json()["executions_refundable"] == 0
    receipt = done(service.get(path))
    assert receipt["kind"] == "consume"
    assert (receipt["executions"], receipt["executions_refunded"]) == (12, 12)
    assert receipt["executions_remaining_before"] == 15
    assert receipt["executions_remaining_after"] == 3
    assert (receipt["workflow"], receipt["user_id"]) == ("w", "u")
    assert receipt["idempotency_key"] == "k"
    assert receipt["organization_id"] == holder.organization_id
    assert [
        (paid["plan_name"], paid["executions"], paid["plan_used_before"], paid["plan_used_after"])
        for paid in receipt["parts"]
    ] == [("Plan 1", 10, 0, 10), ("Plan 2", 2, 0, 2)]
    assert [(line["executions"], line["reason"]) for line in receipt["refunds"]] == [
        (3, "failed"),
        (9, "all"),
    ]
    refund = done(service.get(f"/billing/executions/{receipt['refunds'][0]['event_id']}"))
    assert (refund["kind"], refund["executions"], refund["refers_to"]) == ("refund", -3, event)
    assert refund["executions_remaining_before"] == 3
    assert refund["executions_remaining_after"] == 6


def test_refund_to_an_ended_plan_does_not_change_the_balance(
    service: httpx.Client, api_database_url: str
) -> None:
    holder = organization(api_database_url, 10)
    add_plan(api_database_url, holder, 2, 5)
    event = done(ask(service, holder, "consume", 15, "k"))["event_id"]
    end_plan(api_database_url, holder, 2)
    answer = done(service.post(f"/billing/executions/{event}/refund", json={"reason": "all"}))
    assert answer["executions_remaining"] == 10
    receipt = done(service.get(f"/billing/executions/{answer['event_id']}"))
    assert receipt["executions_remaining_after"] == 10
    assert receipt["executions_remaining_before"] == 0


def test_denial_explains_itself(service: httpx.Client, holder: Holder) -> None:
    for mode, key in (("check", ""), ("consume", "k"), ("reserve", "l")):
        response = ask(service, holder, mode, 16, key)
        assert response.status_code == 402
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["code"] == "insufficient_executions"
        assert problem["type"] == "/billing/problems/insufficient_executions"
        assert problem["allowed"] is False
        assert problem["executions_remaining"] == 15
        assert problem["executions_requested"] == 16
        assert problem["period_end"] is None
        assert problem["upgrade_url"].startswith("http://billing.test/")
    assert numbers(done(ask(service, holder, "check", 1))) == (15, 0, 0, 15)


def test_denied_key_can_be_reused(
    service: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    assert ask(service, holder, "consume", 20, "k").status_code == 402
    add_plan(api_database_url, holder, 3, 100)
    answer = ask(service, holder, "consume", 20, "k")
    assert answer.status_code == 200
    assert "idempotency-replayed" not in answer.headers


def test_account_without_a_plan(service: httpx.Client, api_database_url: str) -> None:
    bare = organization(api_database_url)
    response = ask(service, bare, "consume", 1, "k")
    assert (response.status_code, response.json()["code"]) == (404, "plan_not_found")
    assert response.json()["allowed"] is False
    current = service.get("/billing/plans/current", params=of(bare))
    assert (current.status_code, current.json()["code"]) == (404, "plan_not_found")


def test_new_public_user_gets_one_trial(service: httpx.Client) -> None:
    body = {"organization_id": PUBLIC, "user_id": ids.new_id("usr_"), "mode": "consume"}
    answers = [
        done(service.post(CHECK_EXECUTIONS, json=body, headers={"Idempotency-Key": key}))
        for key in ("a", "b", "b")
    ]
    assert answers[0]["plan"]["type"] == "trial"
    assert numbers(answers[0]) == (TRIAL_EXECUTIONS, 1, 0, TRIAL_EXECUTIONS - 1)
    assert numbers(answers[2]) == (TRIAL_EXECUTIONS, 2, 0, TRIAL_EXECUTIONS - 2)
    who = {"organization_id": PUBLIC, "user_id": body["user_id"]}
    current = done(service.get("/billing/plans/current", params=who))
    assert current["plan"]["type"] == "trial"
    assert current["executions_used"] == 2


def test_check_of_a_new_public_user_creates_the_trial(service: httpx.Client) -> None:
    body = {"organization_id": PUBLIC, "user_id": ids.new_id("usr_")}
    assert numbers(done(service.post(CHECK_EXECUTIONS, json=body))) == (
        TRIAL_EXECUTIONS,
        0,
        0,
        TRIAL_EXECUTIONS,
    )


def test_batch_items_are_decided_in_order_independently(
    service: httpx.Client, holder: Holder
) -> None:
    items = [
        of(holder, mode="consume", executions=9, idempotency_key="a"),
        of(holder, mode="consume", executions=9, idempotency_key="b"),
        of(holder, mode="reserve", executions=6, idempotency_key="c"),
        of(holder, mode="consume", executions=9, idempotency_key="a"),
        of(holder, mode="consume", executions=8, idempotency_key="a"),
        of(holder, mode="consume"),
        of(holder, mode="consume", executions=0, idempotency_key="d"),
        {"organization_id": "nowhere", "mode": "check"},
        of(holder),
    ]
    response = service.post(CHECK_EXECUTIONS_BATCH, json={"items": items})
    results = done(response)["results"]
    statuses = [result["status"] for result in results]
    assert statuses == [200, 402, 200, 200, 422, 422, 422, 404, 402]
    assert [result.get("code") for result in results] == [
        None,
        "insufficient_executions",
        None,
        None,
        "idempotency_key_reused",
        "idempotency_key_required",
        "invalid_input",
        "organization_not_found",
        "insufficient_executions",
    ]
    assert list(results[0]) == ["status", *CHECK_FIELDS]
    assert results[3] == results[0]
    assert results[2]["reservation"]["id"].startswith("rsv_")
    assert results[1]["executions_remaining"] == 6


def test_member_can_be_named(service: httpx.Client, holder: Holder, api_database_url: str) -> None:
    user_id = member(api_database_url, holder.organization_id)
    done(ask(service, holder, "consume", 1, "k", user_id=user_id))
