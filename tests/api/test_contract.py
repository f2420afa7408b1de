"""The HTTP contract over real HTTP: routes, statuses, fields and headers."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from billing_app.billing import ids
from billing_app.db.words import Scope
from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH
from tests.conftest import PUBLIC, TRIAL_EXECUTIONS
from tests.factories import Holder, add_plan, api_key, end_plan, member, organization

NUMBERS = ("executions_total", "executions_used", "executions_held", "executions_remaining")
CHECK_FIELDS = [
    "allowed",
    "mode",
    "executions",
    "event_id",
    "reservation",
    "plan",
    "account_id",
    *NUMBERS,
    "period_end",
]


@pytest.fixture
def holder(api_database_url: str) -> Holder:
    """An organization with 10 executions, then 5."""
    return organization(api_database_url, 10, 5)


def ask(
    service: httpx.Client, holder: Holder, mode: str, executions: int, key: str = "", **more: Any
) -> httpx.Response:
    body = {"organization_id": holder.organization_id, "mode": mode, "executions": executions}
    headers = {"Idempotency-Key": key} if key else {}
    return service.post(CHECK_EXECUTIONS, json=body | more, headers=headers)


def done(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def numbers(answer: Any) -> tuple[int, ...]:
    return tuple(answer[name] for name in NUMBERS)


def of(holder: Holder, **more: Any) -> dict[str, Any]:
    return {"organization_id": holder.organization_id, **more}


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


def test_consume_counts_and_a_retry_gets_the_same_bytes(
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


def test_release_gives_back(service: httpx.Client, holder: Holder) -> None:
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


def test_refund_whole_and_part_with_the_receipt_telling(
    service: httpx.Client, holder: Holder
) -> None:
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


def test_a_refund_to_an_ended_plan_leaves_what_remains_as_it_was(
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


def test_a_denial_explains_itself(service: httpx.Client, holder: Holder) -> None:
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


def test_a_denied_key_may_be_used_again(
    service: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    assert ask(service, holder, "consume", 20, "k").status_code == 402
    add_plan(api_database_url, holder, 3, 100)
    answer = ask(service, holder, "consume", 20, "k")
    assert answer.status_code == 200
    assert "idempotency-replayed" not in answer.headers


def test_an_account_without_a_plan(service: httpx.Client, api_database_url: str) -> None:
    bare = organization(api_database_url)
    response = ask(service, bare, "consume", 1, "k")
    assert (response.status_code, response.json()["code"]) == (404, "plan_not_found")
    assert response.json()["allowed"] is False
    current = service.get("/billing/plans/current", params=of(bare))
    assert (current.status_code, current.json()["code"]) == (404, "plan_not_found")


def test_a_new_public_user_gets_a_trial_once(service: httpx.Client) -> None:
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


def test_a_check_of_a_new_public_user_makes_the_trial_too(service: httpx.Client) -> None:
    body = {"organization_id": PUBLIC, "user_id": ids.new_id("usr_")}
    assert numbers(done(service.post(CHECK_EXECUTIONS, json=body))) == (
        TRIAL_EXECUTIONS,
        0,
        0,
        TRIAL_EXECUTIONS,
    )


def test_a_batch_is_decided_in_order_each_on_its_own(service: httpx.Client, holder: Holder) -> None:
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


def test_current_plan_and_what_comes_next(
    service: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    add_plan(api_database_url, holder, 3, 7, starts_at=tomorrow)
    done(ask(service, holder, "consume", 11, "k"))
    current = done(service.get("/billing/plans/current", params=of(holder)))
    fields = ["account_id", "plan", *NUMBERS, "period_end", "upcoming", "overage"]
    assert list(current) == fields
    assert current["overage"] is None
    assert numbers(current) == (5, 1, 0, 4)
    assert current["plan"]["sequence"] == 2
    assert current["plan"]["state"] == "current"
    assert current["plan"]["began_because"] == "previous_depleted"
    assert [plan["sequence"] for plan in current["upcoming"]] == [3]
    by_account = service.get("/billing/plans/current", params={"account_id": holder.account_id})
    assert by_account.json() == current


def test_an_account_whose_first_plan_is_yet_to_begin(
    service: httpx.Client, api_database_url: str
) -> None:
    early = organization(api_database_url)
    add_plan(api_database_url, early, 1, 7, starts_at=datetime.now(UTC) + timedelta(days=1))
    current = done(service.get("/billing/plans/current", params=of(early)))
    assert current["plan"] is None
    assert current["executions_remaining"] == 0
    assert [plan["state"] for plan in current["upcoming"]] == ["upcoming"]


def test_history_is_paged_newest_first(service: httpx.Client, api_database_url: str) -> None:
    holder = organization(api_database_url, 1, 1, 1, 1, 1)
    done(ask(service, holder, "consume", 2, "k"))
    sequences: list[int] = []
    cursor: str | None = None
    for _ in range(3):
        params = of(holder, limit=2) | ({"cursor": cursor} if cursor else {})
        page = done(service.get("/billing/plans/history", params=params))
        assert list(page) == ["items", "next_cursor"]
        sequences += [plan["sequence"] for plan in page["items"]]
        cursor = page["next_cursor"]
    assert sequences == [5, 4, 3, 2, 1]
    assert cursor is None
    first = page["items"][-1]
    assert (first["state"], first["ended_because"]) == ("ended", "depleted")
    assert (first["began_because"], first["remaining"]) == ("first_plan", 0)


def test_usage_by_day_workflow_and_user(service: httpx.Client, holder: Holder) -> None:
    event = done(ask(service, holder, "consume", 4, "a", workflow="w", user_id="u"))["event_id"]
    done(ask(service, holder, "consume", 2, "b"))
    done(
        service.post(
            f"/billing/executions/{event}/refund", json={"executions": 1, "reason": "failed"}
        )
    )
    assert ask(service, holder, "consume", 99, "c", workflow="w").status_code == 402
    today = datetime.now(UTC).date().isoformat()
    answer = done(service.get("/billing/usage", params=of(holder)))
    assert answer["account_id"] == holder.account_id
    assert (answer["to"], answer["group_by"]) == (today, "day")
    assert answer["items"] == [
        {
            "day": today,
            "used": 6,
            "refunded": 1,
            "net": 5,
            "denied": {"insufficient_executions": 1},
        }
    ]
    assert answer["totals"] == {"used": 6, "refunded": 1, "net": 5, "denied": 1}
    by_workflow = done(service.get("/billing/usage", params=of(holder, group_by="workflow")))
    assert [(row["workflow"], row["net"]) for row in by_workflow["items"]] == [("", 2), ("w", 3)]
    by_user = done(service.get("/billing/usage", params=of(holder, group_by="user")))
    assert [(row["user"], row["net"]) for row in by_user["items"]] == [("", 2), ("u", 3)]
    past = {"from": "2020-01-01", "to": "2020-01-31"}
    earlier = done(service.get("/billing/usage", params=of(holder) | past))
    assert (earlier["from"], earlier["to"], earlier["items"]) == ("2020-01-01", "2020-01-31", [])


def test_events_are_paged_and_filtered(service: httpx.Client, holder: Holder) -> None:
    names = [("a", "w"), ("b", ""), ("c", "w"), ("d", "w"), ("e", "")]
    for key, workflow in names:
        done(ask(service, holder, "consume", 1, key, workflow=workflow))
    keys: list[str] = []
    cursor: str | None = None
    while True:
        params = of(holder, limit=2) | ({"cursor": cursor} if cursor else {})
        page = done(service.get("/billing/usage/events", params=params))
        keys += [event["idempotency_key"] for event in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert keys == ["e", "d", "c", "b", "a"]
    event = page["items"][0]
    assert list(event) == [
        "event_id",
        "kind",
        "executions",
        "workflow",
        "user_id",
        "idempotency_key",
        "plan_ids",
        "executions_remaining",
        "refers_to",
        "reason",
        "occurred_at",
    ]
    assert (event["kind"], event["executions"], event["executions_remaining"]) == ("consume", 1, 14)
    by_workflow = done(service.get("/billing/usage/events", params=of(holder, workflow="w")))
    assert [e["idempotency_key"] for e in by_workflow["items"]] == ["d", "c", "a"]
    refunds = done(service.get("/billing/usage/events", params=of(holder, kind="refund")))
    assert refunds == {"items": [], "next_cursor": None}
    today = datetime.now(UTC).date()
    params = of(holder, to=(today - timedelta(days=1)).isoformat())
    assert done(service.get("/billing/usage/events", params=params))["items"] == []


def test_export_has_every_event_and_runs_no_formula(service: httpx.Client, holder: Holder) -> None:
    done(ask(service, holder, "consume", 12, "=HYPERLINK(1)", workflow='@w,"x"', user_id="+u"))
    done(ask(service, holder, "consume", 1, "plain"))
    response = service.get("/billing/usage/export.csv", params=of(holder))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"].startswith("attachment; filename=")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [row["executions"] for row in rows] == ["1", "12"]
    assert rows[1]["idempotency_key"] == "'=HYPERLINK(1)"
    assert rows[1]["workflow"] == '\'@w,"x"'
    assert rows[1]["user_id"] == "'+u"
    assert len(rows[1]["plan_ids"].split()) == 2
    assert rows[0]["event_id"].startswith("evt_")


def test_reading_needs_no_consuming_scope(
    anyone: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    secret = api_key(api_database_url, Scope.PLANS_READ, organization_id=holder.organization_id)
    headers = {"Authorization": f"Bearer {secret}"}
    for path in ("plans/current", "plans/history", "usage", "usage/events", "usage/export.csv"):
        response = anyone.get(f"/billing/{path}", params=of(holder), headers=headers)
        assert response.status_code == 200, path
    refused = anyone.post(CHECK_EXECUTIONS, json=of(holder), headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


def test_a_member_may_be_named(
    service: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    user_id = member(api_database_url, holder.organization_id)
    done(ask(service, holder, "consume", 1, "k", user_id=user_id))


def test_health_and_metrics(anyone: httpx.Client, service: httpx.Client, holder: Holder) -> None:
    assert anyone.get("/healthz").json() == {"status": "alive"}
    ready = anyone.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    checks = ready.json()["checks"]
    assert (checks["database"], checks["migrations"]) == ("ok", "ok")
    assert checks["jobs"] == "no worker"
    done(ask(service, holder, "consume", 1, "k"))
    metrics = anyone.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "billing_execution_batch_requests_bucket" in metrics.text


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/billing/openapi.json", "/billing/plans/current"]
)
def test_head_is_get_without_the_body(service: httpx.Client, holder: Holder, path: str) -> None:
    params = {"organization_id": holder.organization_id}
    response = service.head(path, params=params)
    assert (response.status_code, response.content) == (200, b"")
    content_type = service.get(path, params=params).headers["content-type"]
    assert response.headers["content-type"] == content_type


def test_openapi_describes_the_routes_that_answer(anyone: httpx.Client) -> None:
    document = done(anyone.get("/billing/openapi.json"))
    assert document["openapi"].startswith("3.")
    assert document["info"]["title"]
    described = {
        f"{method.upper()} {path}" for path, at in document["paths"].items() for method in at
    }
    assert described >= {
        "POST /billing/plans/check-executions",
        "POST /billing/plans/check-executions/batch",
        "POST /billing/reservations/{id}/commit",
        "POST /billing/reservations/{id}/release",
        "POST /billing/executions/{event_id}/refund",
        "GET /billing/executions/{event_id}",
        "GET /billing/plans/current",
        "GET /billing/plans/history",
        "GET /billing/usage",
        "GET /billing/usage/events",
        "GET /billing/usage/export.csv",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }
    for reference in _references(document):
        _resolve(document, reference)
    operations = [o for at in document["paths"].values() for o in at.values()]
    names = [o["operationId"] for o in operations if "operationId" in o]
    assert len(names) == len(set(names))
    for path, at in document["paths"].items():
        for operation in at.values():
            assert operation["responses"], path
            given = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert given == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path
    refused = document["paths"]["/billing/usage"]["get"]["responses"]["422"]
    assert list(refused["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    check = document["paths"][CHECK_EXECUTIONS]["post"]
    assert {"200", "401", "402", "403", "404", "422", "503"} <= set(check["responses"])
    fields = document["components"]["schemas"]["CheckAnswer"]["properties"]
    assert list(fields) == CHECK_FIELDS


def test_docs_are_a_page(anyone: httpx.Client) -> None:
    response = anyone.get("/billing/docs")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "/billing/openapi.json" in response.text
    # It loads nothing from elsewhere: it must work where there is no internet.
    assert not re.search(r"""(src|href)=["'](https?:)?//""", response.text)
    assert "<script" not in response.text
    for path in anyone.get("/billing/openapi.json").json()["paths"]:
        assert path in response.text
    assert "from 1 to 1,000,000" in response.text


def test_the_type_of_a_problem_can_be_followed(service: httpx.Client, holder: Holder) -> None:
    problem = ask(service, holder, "check", 99).json()
    explained = done(service.get(problem["type"]))
    assert explained["code"] == problem["code"]
    assert explained["title"] == problem["title"]
    assert service.get("/billing/problems/no_such").status_code == 404


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for value in part.values() for found in _references(value)]
    if isinstance(part, list):
        return [found for value in part for found in _references(value)]
    return []


def _resolve(document: Any, reference: str) -> None:
    assert reference.startswith("#/"), reference
    for name in reference[2:].split("/"):
        document = document[name]
    assert json.dumps(document)
