"""Blank objects: every field an SDK class declares, with the value Stripe sends when unset."""

import inspect
from functools import cache
from typing import Any, Literal, get_args, get_origin

from stripe._list_object import ListObject
from stripe._stripe_object import StripeObject

from billing_app.stripe_sandbox.contract import sdk
from billing_app.stripe_sandbox.copying import copied

# Stripe sends these only when the request expands them, or never for a card.
OMITTED: dict[str, frozenset[str]] = {
    "customer": frozenset({"sources", "subscriptions", "tax_ids", "tax", "cash_balance",
                           "invoice_credit_balance", "business_name", "individual_name"}),
    "invoice": frozenset({"payments", "confirmation_secret"}),
    "price": frozenset({"tiers", "currency_options"}),
    "plan": frozenset({"tiers"}),
    "coupon": frozenset({"applies_to", "currency_options"}),
    "charge": frozenset({"refunds", "level3"}),
    "checkout.session": frozenset({"line_items"}),
    "webhook_endpoint": frozenset({"secret"}),
    "refund": frozenset({"instructions_email", "next_action", "presentment_details",
                         "pending_reason", "failure_reason", "failure_balance_transaction"}),
}  # fmt: skip
_ONLY_TYPE_HASH = frozenset({"payment_method"})
_MISSING = object()


def blank(name: str) -> dict[str, Any]:
    """A fresh blank object, without the fields that Stripe always fills (ids, amounts, enums).

    The contract check of the answer finds a field that was never filled.
    """
    return copied(_blank_object(name))


@cache
def _blank_object(name: str) -> dict[str, Any]:
    cls = sdk.object_class(name)
    if cls is None:
        raise LookupError(f"the SDK has no object {name!r}")
    fields = _blank_fields(cls)
    for omitted in OMITTED.get(name, ()):
        fields.pop(omitted, None)
    if name in _ONLY_TYPE_HASH:
        fields = {key: value for key, value in fields.items() if not _is_type_hash(cls, key)}
    if "metadata" in sdk.answer_fields(cls):
        fields["metadata"] = {}
    return fields


def _is_type_hash(cls: type, name: str) -> bool:
    members = sdk.union_members(sdk.answer_fields(cls)[name])
    return any(
        inspect.isclass(m) and m.__qualname__.startswith(f"{cls.__name__}.") for m in members
    )


def blank_nested(name: str, *path: str) -> dict[str, Any]:
    """A fresh blank of a class nested in another, such as `("payment_method", "card")`."""
    cls: Any = sdk.object_class(name)
    for field in path:
        kind = sdk.answer_fields(cls)[field]
        members = sdk.union_members(kind) if get_origin(kind) in sdk.UNIONS else (kind,)
        if get_origin(members[0]) is list:
            members = get_args(members[0])
        cls = members[0]
    return copied(_blank_fields(cls))


@cache
def _blank_fields(cls: type) -> dict[str, Any]:
    fields = {name: _empty(kind) for name, kind in sdk.answer_fields(cls).items()}
    return {
        name: value
        for name, value in fields.items()
        if value is not _MISSING and name not in ("deleted", "lastResponse")
    }


def _empty(kind: Any) -> Any:
    origin = get_origin(kind)
    if sdk.is_optional(kind):
        return None
    if sdk.is_untyped(kind) or origin is list:
        return [] if origin is list else {}
    if origin is Literal and len(get_args(kind)) == 1:
        return get_args(kind)[0]
    if origin is ListObject:
        return _MISSING
    if inspect.isclass(kind) and issubclass(kind, StripeObject) and "." in kind.__qualname__:
        return _blank_fields(kind)
    return False if kind is bool else _MISSING
