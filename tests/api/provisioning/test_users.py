"""People of the public organization that a product makes under IDs of its own."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.bad_input.refusals import refused
from tests.conftest import PUBLIC, TRIAL_EXECUTIONS
from tests.factories import connect

CHECK = "/billing/plans/check-executions"


def at(external_id: str) -> str:
    return f"/billing/users/{quote(external_id, safe='')}"


def new_id() -> str:
    return "person-" + secrets.token_hex(6)


def history(product: httpx.Client, own: str) -> list[Any]:
    who = {"organization_id": PUBLIC, "user_id": own}
    return product.get("/billing/plans/history", params=who).json()["items"]


def test_made_with_a_trial_then_updated(product: httpx.Client) -> None:
    own = new_id()
    made = product.put(at(own), json={"name": "Ada", "metadata": {"tier": "a"}})
    assert made.status_code == 201, made.text
    assert made.json()["user_id"] == own
    assert [plan["executions"] for plan in history(product, own)] == [TRIAL_EXECUTIONS]
    renamed = product.put(at(own), json={"name": "Ada L."})
    assert (renamed.status_code, renamed.json()) == (200, made.json() | {"name": "Ada L."})
    assert product.put(at(own), json={}).json() == renamed.json()
    assert product.get(at(own)).json() == renamed.json()


def test_offer_takes_the_place_of_the_trial(product: httpx.Client) -> None:
    own = new_id()
    assert product.put(at(own), json={"offer": "free"}).json()["offer"] == "free"
    assert [plan["name"] for plan in history(product, own)] == ["Free"]


def test_one_trial_for_a_billing_email(product: httpx.Client) -> None:
    address = f"{secrets.token_hex(6)}@example.com"
    first, second = new_id(), new_id()
    for own in (first, second):
        assert product.put(at(own), json={"billing_email": address}).status_code == 201
    assert [len(history(product, own)) for own in (first, second)] == [1, 0]


def test_user_known_to_the_hot_path_is_updated(product: httpx.Client) -> None:
    own = new_id()
    product.post(CHECK, json={"organization_id": PUBLIC, "user_id": own})
    assert product.put(at(own), json={"name": "Ada"}).status_code == 200
    assert len(history(product, own)) == 1


@pytest.mark.parametrize("own", ["usr_0123456789abcdef", "org_0123456789abcdef"])
def test_id_that_looks_generated(product: httpx.Client, own: str) -> None:
    refused(product.put(at(own), json={}), 422, "id_reserved")
    refused(product.get(at(own)), 404, "user_not_found")


def test_no_password_comes_with_a_user(product: httpx.Client, api_database_url: str) -> None:
    own = new_id()
    product.put(at(own), json={"name": "Ada", "billing_email": f"{own}@example.com"})
    with connect(api_database_url) as connection:
        query = "SELECT email, password_hash FROM users WHERE id = %s"
        assert connection.execute(query, [own]).fetchall() == [(None, None)]


def test_made_and_consumed_at_once(product: httpx.Client) -> None:
    """Provisioning and the hot path enrol the same person at the same time."""
    people = [new_id() for _ in range(8)]

    def ask(number: int) -> int:
        own = people[number // 4]
        if number % 2:
            return product.put(at(own), json={"name": "Ada"}).status_code
        body = {"organization_id": PUBLIC, "user_id": own, "mode": "consume"}
        key = {"Idempotency-Key": f"{number}"}
        return product.post(CHECK, json=body, headers=key).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = set(pool.map(ask, range(4 * len(people))))
    assert statuses <= {200, 201}
    for own in people:
        assert [(plan["executions"], plan["used"]) for plan in history(product, own)] == [
            (TRIAL_EXECUTIONS, 2)
        ]
