"""The contract check: what it finds, and canaries for the SDK internals that it relies on."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import StripeObject

from billing_app.stripe_sandbox import resources
from billing_app.stripe_sandbox.contract import sdk
from billing_app.stripe_sandbox.contract.answers import explain, problems_of_answer
from billing_app.stripe_sandbox.contract.blank import blank
from billing_app.stripe_sandbox.contract.fits import answer_fits
from billing_app.stripe_sandbox.contract.params import BadParamError, read_params
from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.registry import ROUTES, find_route
from billing_app.stripe_sandbox.world import World

assert resources
SDK = Path(str(stripe.__file__)).parent


def classes(cls: type) -> Iterator[type]:
    yield cls
    for value in vars(cls).values():
        own = inspect.isclass(value) and value.__qualname__.startswith(f"{cls.__qualname__}.")
        if own and issubclass(value, StripeObject):
            yield from classes(value)


def test_canary_every_class_resolves() -> None:
    names = [name for name in OBJECT_CLASSES if not name.startswith("v2.")]
    assert len(names) > 140
    for name in names:
        cls = sdk.object_class(name)
        assert cls is not None
        for nested in classes(cls):
            sdk.answer_fields(nested)


def test_canary_types_of_this_api_version() -> None:
    subscription = sdk.answer_fields(stripe.Subscription)
    assert "items" in subscription
    assert "current_period_end" not in subscription
    assert "current_period_end" in sdk.answer_fields(stripe.SubscriptionItem)
    assert "parent" in sdk.answer_fields(stripe.Invoice)
    assert sdk.is_optional(subscription["latest_invoice"])
    required, _ = sdk.param_fields(sdk.params_class("checkout.SessionCreateParams"))["mode"]
    assert not required
    required, _ = sdk.param_fields(sdk.params_class("PriceCreateParams"))["currency"]
    assert required
    assert sdk.API_VERSION == "2026-10-28.endive"


def _service_calls() -> dict[tuple[str, str], str | None]:
    """(method, path) -> parameter class, as the SDK's services call them."""
    found: dict[tuple[str, str], str | None] = {}
    for file in SDK.rglob("_*_service.py"):
        source = file.read_text()
        if "_request(" not in source:
            continue
        for function in ast.walk(ast.parse(source)):
            if isinstance(function, ast.FunctionDef):
                found |= _calls_of(function)
    return found


def _calls_of(function: ast.FunctionDef) -> dict[tuple[str, str], str | None]:
    params = None
    for argument in (*function.args.args, *function.args.kwonlyargs):
        if argument.arg == "params" and argument.annotation is not None:
            match = re.search(r"([A-Z]\w+Params)", ast.unparse(argument.annotation))
            params = match[1] if match else None
    found = {}
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr == "_request" and isinstance(node.args[0], ast.Constant):
            text = ast.unparse(node.args[1])
            path = re.match(r"'([^']+)'", text)
            if path:
                found[str(node.args[0].value).upper(), _shape(path[1])] = params
    return found


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def test_routes_match_the_sdk_services() -> None:
    calls = _service_calls()
    without_fields = {"expand"}
    for route in ROUTES:
        key = route.method, _shape(route.path)
        assert key in calls, key
        declared = calls[key]
        if route.params is None:
            package = _package_of(route.path)
            fields = (
                set(sdk.param_fields(sdk.params_class(f"{package}{declared}")))
                if declared
                else set()
            )
            assert fields <= without_fields, key
        else:
            assert route.params.split(".")[-1] == declared, key


def _package_of(path: str) -> str:
    part = path.split("/")[2]
    return f"{part}." if part in ("billing", "billing_portal", "checkout", "test_helpers") else ""


def test_answers_are_checked() -> None:
    customer = blank("customer") | {"id": "cus_1", "created": 1}
    assert problems_of_answer(customer) == []
    assert problems_of_answer({**customer, "created": None})
    for change, expected in [
        ({"created": "1"}, "expected int"),
        ({"balance": True}, "expected int"),
        ({"unicorn": 1}, "declares no such field"),
        ({"tax_exempt": "maybe"}, "is not one of"),
        ({"invoice_settings": []}, "expected an object"),
        ({"metadata": 1}, "expected a map"),
    ]:
        assert expected in problems_of_answer(customer | change)[0]
    del customer["livemode"]
    assert "missing" in problems_of_answer(customer)[0]


REPLACEMENTS = [None, True, 7, 1.5, "", "text", [], ["x"], {}, {"a": 1}, {"deleted": True},
                {"object": "list"},
                {"object": "list", "data": [1], "has_more": 0, "url": ""}]  # fmt: skip


@cache
def _samples() -> list[dict[str, Any]]:
    world = World("http://127.0.0.1:1")

    def call(method: str, path: str, **params: Any) -> dict[str, Any]:
        entry, identifiers = find_route(method, path)
        return entry.handler(world, params, *identifiers)

    recurring, product = {"interval": "month"}, {"name": "Plan"}
    what = call("POST", "/v1/prices", currency="usd", unit_amount=900, recurring=recurring,
                product_data=product)  # fmt: skip
    who = call("POST", "/v1/customers")["id"]
    method = call("POST", "/v1/payment_methods/pm_card_visa/attach", customer=who)["id"]
    items = [{"price": what["id"]}]
    call("POST", "/v1/subscriptions", customer=who, items=items, default_payment_method=method)
    kinds = ("subscription", "invoice", "charge", "payment_intent", "payment_method", "event")
    return [public(next(world.store.all(kind))) for kind in kinds]


def _corrupt(value: Any, choose: Callable[[list[Any]], Any]) -> Any:
    """A copy with one value somewhere inside replaced, removed or added."""
    if not isinstance(value, dict | list) or not value or choose([True, False, False, False]):
        return choose(REPLACEMENTS)
    if isinstance(value, list):
        return [_corrupt(value[0], choose), *value[1:]]
    key = choose([*value, "unicorn"])
    if key in value and choose([True, False, False]):
        return {name: item for name, item in value.items() if name != key}
    return {**value, key: _corrupt(value.get(key), choose)}


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_quick_check_agrees_with_the_explanation(data: st.DataObject) -> None:
    def choose(options: list[Any]) -> Any:
        return data.draw(st.sampled_from(options))

    sample = choose(_samples())
    assert answer_fits(sample)
    assert explain(sample) == []
    corrupt = _corrupt(sample, choose)
    if not isinstance(corrupt, dict):
        return
    corrupt = {**corrupt, "object": sample["object"]}
    page = {"object": "list", "data": [sample, corrupt], "has_more": False, "url": "/v1/x"}
    for answer in (corrupt, page):
        assert answer_fits(answer) == (explain(answer) == [])


@pytest.mark.parametrize(
    ("params", "data", "code", "param"),
    [
        ("CustomerCreateParams", {"foo": "1"}, "parameter_unknown", "foo"),
        ("PriceCreateParams", {}, "parameter_missing", "currency"),
        ("SubscriptionUpdateParams", {"items": [{"quantity": "x"}]},
         "parameter_invalid_integer", "items[0][quantity]"),
        ("SubscriptionUpdateParams", {"items": [{"nope": "x"}]},
         "parameter_unknown", "items[0][nope]"),
        ("SubscriptionUpdateParams", {"proration_behavior": "x"}, "", "proration_behavior"),
        ("SubscriptionUpdateParams", {"off_session": "1"}, "", "off_session"),
    ],
)  # fmt: skip
def test_params_are_checked(params: str, data: dict[str, object], code: str, param: str) -> None:
    with pytest.raises(BadParamError) as refused:
        read_params(sdk.params_class(params), data)
    assert (refused.value.code, refused.value.param) == (code, param)


def test_params_are_typed() -> None:
    data = {
        "items": [{"id": "si_1", "quantity": "2", "deleted": "true"}],
        "pause_collection": "",
        "billing_cycle_anchor": {"type": "now"},
        "metadata": {"a": "1"},
    }
    assert read_params(sdk.params_class("SubscriptionUpdateParams"), data) == {
        "items": [{"id": "si_1", "quantity": 2, "deleted": True}],
        "pause_collection": "",
        "billing_cycle_anchor": {"type": "now"},
        "metadata": {"a": "1"},
    }
