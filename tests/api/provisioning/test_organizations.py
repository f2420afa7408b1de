"""Organizations that a product makes under IDs of its own."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_app.db.enums import Scope
from tests.api.bad_input.refusals import refused
from tests.api.server import ApiServer
from tests.conftest import PUBLIC
from tests.factories import api_key, connect, organization

ORGANIZATIONS = "/billing/organizations"
CHECK = "/billing/plans/check-executions"
LOOKS_GENERATED = (
    "org_0123456789abcdef",
    "usr_0123456789abcdef",
    "acc_0123456789abcdef",
    "evt_0123456789abcdef1",
    "pln_0123456789abcdef1",
    "rsv_0123456789abcdef1",
)


def at(external_id: str) -> str:
    return f"{ORGANIZATIONS}/{quote(external_id, safe='')}"


def new_id(prefix: str = "acme-") -> str:
    return prefix + secrets.token_hex(6)


def put(client: httpx.Client, external_id: str, **body: Any) -> httpx.Response:
    return client.put(at(external_id), json={"name": "Acme"} | body)


def test_made_once_then_updated(product: httpx.Client) -> None:
    own = new_id()
    body = {"billing_email": "pay@acme.test", "metadata": {"crm": "42"}}
    made = put(product, own, **body)
    assert made.status_code == 201, made.text
    assert made.json() == {
        "organization_id": own,
        "account_id": made.json()["account_id"],
        "name": "Acme",
        "billing_email": "pay@acme.test",
        "offer": None,
        "metadata": {"crm": "42"},
        "created_at": made.json()["created_at"],
        "closed_at": None,
    }
    again = put(product, own, **body)
    assert (again.status_code, again.json()) == (200, made.json())
    assert product.get(at(own)).json() == made.json()
    renamed = put(product, own, name="Acme Ltd").json()
    assert renamed == made.json() | {"name": "Acme Ltd"}
    emptied = put(product, own, billing_email=None, metadata={}).json()
    assert (emptied["billing_email"], emptied["metadata"]) == (None, {})


def test_external_id_stands_for_the_organization_everywhere(product: httpx.Client) -> None:
    own = new_id("tenant/7 é 漢 ")
    account_id = put(product, own, offer="free").json()["account_id"]
    body = {"organization_id": own, "executions": 2, "mode": "consume"}
    consumed = product.post(CHECK, json=body, headers={"Idempotency-Key": "1"})
    assert consumed.status_code == 200, consumed.text
    assert consumed.json()["account_id"] == account_id
    for path in ("plans/current", "plans/history", "usage", "usage/events"):
        read = product.get(f"/billing/{path}", params={"organization_id": own})
        assert read.status_code == 200, read.text
    current = product.get("/billing/plans/current", params={"organization_id": own}).json()
    assert (current["plan"]["name"], current["executions_used"]) == ("Free", 2)


def test_free_offer_and_trial_begin_once(product: httpx.Client) -> None:
    for offer, executions, kind in (("free", 500, "paid"), ("team-trial", 3_000, "trial")):
        own = new_id()
        assert put(product, own, offer=offer).json()["offer"] == offer
        assert put(product, own, offer=offer).status_code == 200
        history = product.get("/billing/plans/history", params={"organization_id": own}).json()
        assert [plan["executions"] for plan in history["items"]] == [executions]
        assert [plan["type"] for plan in history["items"]] == [kind]
        assert history["items"][0]["ends_at"] is not None
        refused(put(product, own, offer="hobby"), 409, "offer_started")


@pytest.mark.parametrize(
    ("offer", "code"), [("paid", "invalid_input"), ("nowhere", "offer_unknown")]
)
def test_offer_that_cannot_be_begun_with_makes_nothing(
    product: httpx.Client, offer: str, code: str
) -> None:
    own = new_id()
    assert refused(put(product, own, offer=offer), 422, code)["field"] == "offer"
    refused(product.get(at(own)), 404, "organization_not_found")


def test_ids_that_fold_to_the_same_are_different_organizations(product: httpx.Client) -> None:
    stem = new_id()
    same = [f"{stem}é", f"{stem}e\u0301", f"{stem}É", f"{stem}É ", f" {stem}é"]
    made = [put(product, own).json() for own in same]
    assert len({each["account_id"] for each in made}) == len(same)
    assert [product.get(at(own)).json()["organization_id"] for own in same] == same


@pytest.mark.parametrize("own", [*LOOKS_GENERATED, ".", "..", PUBLIC])
def test_id_that_is_reserved(product: httpx.Client, own: str) -> None:
    path = at(own).replace(".", "%2E")
    response = product.request("PUT", path, json={"name": "Acme"})
    if own in {".", ".."}:
        # httpx, like a browser, resolves them before it sends.
        assert response.status_code in (404, 405, 422), response.text
    else:
        assert refused(response, 422, "id_reserved")["field"] == "organization_id"


def test_ids_that_only_resemble_generated_ones_are_allowed(product: httpx.Client) -> None:
    for own in ("org_2aXyZ" + secrets.token_hex(9), "org_" + secrets.token_hex(3), "usr_1"):
        assert put(product, own).status_code in (200, 201)


@pytest.mark.parametrize("own", ["a\tb", "a\x1fb", "a\x7fb", "a\x85b", "a\0b", "", "x" * 256])
def test_id_with_control_characters_or_too_long(product: httpx.Client, own: str) -> None:
    response = put(product, own)
    assert response.status_code in (404, 422), response.text
    assert "account_id" not in response.text


def test_longest_id(product: httpx.Client) -> None:
    own = secrets.token_hex(8) + "漢" * 239
    assert put(product, own).status_code == 201
    assert product.get(at(own)).json()["organization_id"] == own


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "\u200b"}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"billing_email": "nobody"}, "billing_email"),
        ({"metadata": {"k": 1}}, "k"),
        ({"metadata": {"k" * 41: "v"}}, None),
        ({"metadata": {"k": "v\0"}}, None),
        ({"metadata": {str(n): "v" for n in range(51)}}, "metadata"),
        ({"offers": "free"}, "offers"),
    ],
)
def test_bad_member(product: httpx.Client, body: dict[str, Any], field: str | None) -> None:
    own = new_id()
    problem = refused(put(product, own, **body), 422, "invalid_input")
    assert field is None or problem["field"] == field
    refused(product.get(at(own)), 404, "organization_not_found")


def test_generated_id_of_a_known_organization_is_taken(
    product: httpx.Client, api_database_url: str
) -> None:
    known = organization(api_database_url, 10)
    updated = put(product, known.organization_id, name="Known")
    assert (updated.status_code, updated.json()["account_id"]) == (200, known.account_id)


def test_lists_page_by_cursor(product: httpx.Client) -> None:
    made = [put(product, new_id()).json()["organization_id"] for _ in range(5)]
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while len(seen) < len(made):
        page = product.get(ORGANIZATIONS, params=params).json()
        seen += [each["organization_id"] for each in page["items"]]
        params["cursor"] = page["next_cursor"]
    assert seen[: len(made)] == made[::-1]
    refused(product.get(ORGANIZATIONS, params={"cursor": "x"}), 422, "invalid_input")


def test_key_of_one_organization_sees_only_it(
    server: ApiServer, product: httpx.Client, api_database_url: str
) -> None:
    own, other = new_id(), new_id()
    for each in (own, other):
        put(product, each)
    secret = api_key(api_database_url, Scope.ACCOUNTS, organization_id=own)
    with httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=20
    ) as bound:
        listed = bound.get(ORGANIZATIONS).json()["items"]
        assert [each["organization_id"] for each in listed] == [own]
        assert put(bound, own, name="Mine").status_code == 200
        for response in (bound.get(at(other)), put(bound, other), put(bound, new_id())):
            refused(response, 403, "forbidden")
        refused(bound.put("/billing/users/somebody", json={}), 403, "forbidden")


def test_scope_is_required(service: httpx.Client, anyone: httpx.Client) -> None:
    own = new_id()
    for response in (put(service, own), service.get(at(own)), service.get(ORGANIZATIONS)):
        refused(response, 403, "scope_missing")
    refused(put(anyone, own), 401, "not_authenticated")


def test_change_of_details_is_audited_once(product: httpx.Client, api_database_url: str) -> None:
    own = new_id()
    for _ in range(2):
        put(product, own, billing_email="old@acme.test")
    for _ in range(2):
        put(product, own, name="Acme Ltd", billing_email="new@acme.test")
    with connect(api_database_url) as connection:
        rows = connection.execute(
            "SELECT role, action, before, after FROM audit_entries WHERE account_id ="
            " (SELECT id FROM accounts WHERE organization_id = %s)",
            [own],
        ).fetchall()
    before = {"name": "Acme", "billing_email": "old@acme.test"}
    after = {"name": "Acme Ltd", "billing_email": "new@acme.test"}
    assert rows == [("service", "update_account", before, after)]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from(["free", None]), min_size=2, max_size=12), st.data())
def test_many_at_once_make_one_organization(
    product: httpx.Client, asked: list[str | None], data: st.DataObject
) -> None:
    own = new_id()
    names = [data.draw(st.sampled_from(["Acme", "Acme Ltd"])) for _ in asked]

    def ask(offer: str | None, name: str) -> httpx.Response:
        return put(product, own, name=name, **({"offer": offer} if offer else {}))

    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(ask, asked, names))
    assert sorted(each.status_code for each in answers) == [200] * (len(asked) - 1) + [201]
    assert len({each.json()["account_id"] for each in answers}) == 1
    history = product.get("/billing/plans/history", params={"organization_id": own}).json()
    assert len(history["items"]) == ("free" in asked)
