"""Whether an answer fits the SDK's class for it, as a quick yes or no.

Each type is compiled once into a function. `answers` explains what is wrong; it is called only
when the answer here is no, and both always agree.
"""

import inspect
import typing
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any, Literal, get_args, get_origin

from stripe._list_object import ListObject
from stripe._stripe_object import StripeObject

from billing_app.stripe_sandbox.contract import sdk

Check = Callable[[Any], bool]

PAGES = ("list", "search_result")
PAGE_FIELDS = frozenset({"data", "has_more", "url"})
SCALARS: dict[Any, Check] = {
    int: lambda value: isinstance(value, int) and not isinstance(value, bool),
    float: lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    str: lambda value: isinstance(value, str),
    bool: lambda value: isinstance(value, bool),
    Decimal: lambda value: isinstance(value, str),
}


class Checked(dict[str, Any]):
    """A Stripe object that fits its class and is never changed; `text` is its JSON, once made."""

    text: str | None = None


def answer_fits(answer: Any) -> bool:
    """Whether the answer is a Stripe object, or a page of them, as the SDK declares it."""
    return isinstance(answer, dict) and "object" in answer and object_fits(answer)


def object_fits(value: dict[str, Any]) -> bool:
    if isinstance(value, Checked) or value.get("deleted") is True:
        return True
    name = value["object"]
    if name in PAGES:
        return value.keys() >= PAGE_FIELDS and all(map(object_fits, value["data"]))
    cls = sdk.object_class(name)
    return cls is not None and _class_check(cls)(value)


@cache
def _class_check(cls: type) -> Check:
    declared = sdk.answer_fields(cls)
    names = declared.keys()
    fields = [
        (name, name != "deleted" and not sdk.is_optional(kind), _check(kind))
        for name, kind in declared.items()
    ]

    def fits(value: dict[str, Any]) -> bool:
        for name, required, check in fields:
            found = value.get(name)
            if found is None:
                if required:
                    return False
            elif not check(found):
                return False
        return value.keys() <= names

    return fits


@cache
def _check(kind: Any) -> Check:
    origin = get_origin(kind)
    if kind is Any or isinstance(kind, typing.TypeVar):
        return _anything
    if origin in sdk.UNIONS:
        return _any_of([_check(member) for member in sdk.union_members(kind)])
    if origin is Literal:
        return _one_of(get_args(kind))
    if sdk.is_untyped(kind) or origin is dict:
        return _is_map
    return _list_check(kind) or _class_or_scalar_check(kind)


def _list_check(kind: Any) -> Check | None:
    origin = get_origin(kind)
    if origin is list:
        return _list_of(_check(get_args(kind)[0]))
    if inspect.isclass(origin) and issubclass(origin, ListObject):
        return _list_object_of(_check(get_args(kind)[0]))
    return None


def _class_or_scalar_check(kind: Any) -> Check:
    if inspect.isclass(kind) and issubclass(kind, StripeObject):
        return _nested(kind)
    return SCALARS.get(kind, _anything)


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _anything(value: Any) -> bool:
    del value
    return True


def _any_of(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]
    return lambda value: not checks or any(check(value) for check in checks)


def _one_of(allowed: tuple[Any, ...]) -> Check:
    texts = frozenset(option for option in allowed if isinstance(option, str))
    return lambda value: value in (texts if isinstance(value, str) else allowed)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _list_object_of(check: Check) -> Check:
    items_fit = _list_of(check)
    return lambda value: (
        isinstance(value, dict)
        and value.get("object") == "list"
        and "has_more" in value
        and "url" in value
        and items_fit(value.get("data"))
    )


def _nested(kind: type) -> Check:
    """Compiled when it is first needed: classes refer to each other in circles."""
    return lambda value: (
        isinstance(value, dict) and (value.get("deleted") is True or _class_check(kind)(value))
    )
