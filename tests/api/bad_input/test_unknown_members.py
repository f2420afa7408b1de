"""A misspelt member is refused: it never counts as left out."""

from typing import Any

import httpx
import pytest

from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH
from tests.api.bad_input.refusals import KEYED, refused
from tests.factories import Holder


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("Mode", "consume", "Did you mean mode?"),
        ("execution", 500, "Did you mean executions?"),
        ("userId", "ann", "Did you mean user_id?"),
        ("hold-seconds", 60, "Did you mean hold_seconds?"),
        ("idempotency_key", "k", "Send it as the header Idempotency-Key."),
        ("zzz", None, "Known members: organization_id, user_id, executions,"),
        ("", 1, "Known members:"),
        ("x" * 5_000, 1, "Known members:"),
    ],
)
def test_unknown_member_is_refused_with_the_nearest_name(
    service: httpx.Client, holder: Holder, name: str, value: object, hint: str
) -> None:
    body = {"organization_id": holder.organization_id, name: value}
    problem = refused(
        service.post(CHECK_EXECUTIONS, json=body, headers=KEYED), 422, "invalid_input"
    )
    assert hint in problem["detail"]
    assert name.startswith(problem["field"].rstrip("…"))
    assert len(problem["detail"]) < 400


def test_unknown_member_of_an_item_refuses_only_the_item(
    service: httpx.Client, holder: Holder
) -> None:
    good = {"organization_id": holder.organization_id}
    body = {"items": [good, good | {"execution": 500}]}
    first, second = service.post(CHECK_EXECUTIONS_BATCH, json=body).json()["results"]
    assert (first["status"], second["status"]) == (200, 422)
    assert "Did you mean executions?" in second["detail"]


@pytest.mark.parametrize("items", [[{}], [], "x"])
def test_unknown_member_beside_the_items_refuses_the_batch(
    service: httpx.Client, items: object
) -> None:
    for body in ({"items": items, "item": []}, {"item": [], "items": items}):
        refused(service.post(CHECK_EXECUTIONS_BATCH, json=body), 422, "invalid_input")


@pytest.mark.parametrize(
    ("path", "body", "hint"),
    [
        ("/billing/subscriptions", {"ofer": "starter"}, "Did you mean offer?"),
        ("/billing/executions/{event}/refund", {"reason": "a", "amount": 1}, "Known members:"),
        ("/billing/executions/{event}/refund", {"reson": "a"}, "Did you mean reason?"),
    ],
)
def test_other_routes_refuse_unknown_members(
    service: httpx.Client, event_id: str, path: str, body: dict[str, Any], hint: str
) -> None:
    response = service.post(path.format(event=event_id), json=body, headers=KEYED)
    assert hint in refused(response, 422, "invalid_input")["detail"]


def test_misspelt_commit_settles_nothing(service: httpx.Client, reservation_id: str) -> None:
    path = f"/billing/reservations/{reservation_id}/commit"
    problem = refused(service.post(path, json={"execution": 2}), 422, "invalid_input")
    assert "Did you mean executions?" in problem["detail"]
