"""Checks an answer against the SDK's class for it: all the fields it declares and no others."""

import inspect
import typing
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from stripe._list_object import ListObject
from stripe._stripe_object import StripeObject

from billing_app.stripe_sandbox.contract import sdk
from billing_app.stripe_sandbox.contract.fits import PAGES, SCALARS, Checked, answer_fits

Problems = Iterator[str]


def problems_of_answer(answer: Any) -> list[str]:
    """What is wrong with an answer; empty if it fits the SDK's class."""
    return [] if answer_fits(answer) else explain(answer)


def explain(answer: Any) -> list[str]:
    """The problems of an answer, found by the full walk through it."""
    if not isinstance(answer, dict) or "object" not in answer:
        return ["the answer is not a Stripe object"]
    return list(_object(answer, str(answer["object"])))


def _object(value: dict[str, Any], path: str) -> Problems:
    name = value["object"]
    if isinstance(value, Checked) or value.get("deleted") is True:
        yield from ()
    elif name in PAGES:
        yield from _page(value, path)
    elif (cls := sdk.object_class(name)) is None:
        yield f"{path}: the SDK has no object {name!r}"
    else:
        yield from _fields(cls, value, path)


def _page(value: dict[str, Any], path: str) -> Problems:
    for key in ("data", "has_more", "url"):
        if key not in value:
            yield f"{path}.{key}: missing"
    for index, item in enumerate(value.get("data", [])):
        yield from _object(item, f"{path}.data[{index}]")


def _fields(cls: type, value: dict[str, Any], path: str) -> Problems:
    declared = sdk.answer_fields(cls)
    for name, kind in declared.items():
        if value.get(name) is not None:
            yield from _value(kind, value[name], f"{path}.{name}")
        elif name != "deleted" and not sdk.is_optional(kind):
            yield f"{path}.{name}: {'null' if name in value else 'missing'}, but it is required"
    for name in value.keys() - declared.keys():
        yield f"{path}.{name}: the SDK declares no such field"


def _value(kind: Any, value: Any, path: str) -> Problems:
    origin = get_origin(kind)
    if kind is Any or isinstance(kind, typing.TypeVar):
        return
    if origin in sdk.UNIONS:
        yield from _best(sdk.union_members(kind), value, path)
    elif origin is Literal:
        if value not in get_args(kind):
            yield f"{path}: {value!r} is not one of {get_args(kind)[:6]}"
    elif sdk.is_untyped(kind) or origin is dict:
        if not isinstance(value, dict):
            yield f"{path}: expected a map"
    elif origin is list or (inspect.isclass(origin) and issubclass(origin, ListObject)):
        check = _items if origin is list else _list_object
        yield from check(get_args(kind)[0], value, path)
    elif inspect.isclass(kind) and issubclass(kind, StripeObject):
        yield from _nested(kind, value, path)
    elif kind in SCALARS and not SCALARS[kind](value):
        yield f"{path}: expected {kind.__name__}, got {type(value).__name__}"


def _nested(kind: type, value: Any, path: str) -> Problems:
    if not isinstance(value, dict):
        yield f"{path}: expected an object {kind.__name__}, got {type(value).__name__}"
    elif value.get("deleted") is not True:
        yield from _fields(kind, value, path)


def _items(kind: Any, value: Any, path: str) -> Problems:
    if not isinstance(value, list):
        yield f"{path}: expected a list"
        return
    for index, item in enumerate(value):
        yield from _value(kind, item, f"{path}[{index}]")


def _list_object(kind: Any, value: Any, path: str) -> Problems:
    if not isinstance(value, dict) or value.get("object") != "list":
        yield f"{path}: expected a list object"
        return
    for key in ("has_more", "url"):
        if key not in value:
            yield f"{path}.{key}: missing"
    yield from _items(kind, value.get("data"), f"{path}.data")


def _best(members: tuple[Any, ...], value: Any, path: str) -> Problems:
    attempts = []
    for member in members:
        problems = list(_value(member, value, path))
        if not problems:
            return
        attempts.append(problems)
    yield from min(attempts, key=len, default=[])
