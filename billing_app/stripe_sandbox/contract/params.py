"""Reads a request's parameters as `stripe.params` types them and refuses what Stripe refuses."""

import re
import typing
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin

from typing_extensions import is_typeddict

from billing_app.stripe_sandbox.contract import sdk

_INTEGER = re.compile(r"-?\d{1,18}\Z")
_NUMBER = re.compile(r"-?\d+(\.\d+)?\Z")


class BadParamError(Exception):
    """A parameter that Stripe would refuse, with Stripe's `code` and the bracketed `param`."""

    def __init__(self, code: str, param: str, message: str) -> None:
        super().__init__(message)
        self.code, self.param, self.message = code, param, message


def read_params(params: type, data: dict[str, Any]) -> dict[str, Any]:
    """The typed parameters, with numbers, booleans and enums parsed. Raises BadParamError."""
    return _typed_dict(params, data, "")


def _join(path: str, name: str | int) -> str:
    return f"{path}[{name}]" if path else str(name)


def _typed_dict(params: type, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadParamError(
            "parameter_invalid_empty" if value == "" else "", path, "Invalid object"
        )
    declared = sdk.param_fields(params)
    for name in value:
        if name not in declared and name != "expand":
            full = _join(path, name)
            raise BadParamError("parameter_unknown", full, f"Received unknown parameter: {full}")
    for name, (required, _) in declared.items():
        if required and name not in value:
            full = _join(path, name)
            raise BadParamError("parameter_missing", full, f"Missing required param: {full}.")
    result = {
        name: _value(kind, value[name], _join(path, name))
        for name, (_, kind) in declared.items()
        if name in value
    }
    if "expand" in value:
        result["expand"] = value["expand"]
    return result


def _value(kind: Any, value: Any, path: str) -> Any:
    origin = get_origin(kind)
    if kind is Any or isinstance(kind, typing.TypeVar):
        return value
    if is_typeddict(kind):
        return _typed_dict(kind, value, path)
    if origin in sdk.UNIONS:
        return _first_fitting(sdk.union_members(kind), value, path)
    read = _list if origin is list else _map if _is_map(kind) else _scalar
    return _literal(kind, value, path) if origin is Literal else read(kind, value, path)


def _is_map(kind: Any) -> bool:
    return get_origin(kind) is dict or sdk.is_untyped(kind)


def _list(kind: Any, value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadParamError("", path, f"Invalid array: {path}")
    return [_value(get_args(kind)[0], item, _join(path, i)) for i, item in enumerate(value)]


def _map(kind: Any, value: Any, path: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise BadParamError("", path, f"Invalid hash: {path}")
    for key, item in value.items():
        if isinstance(item, dict | list):
            raise BadParamError("", _join(path, key), "Metadata values must be strings")
    return {key: "" if item is None else str(item) for key, item in value.items()}


def _literal(kind: Any, value: Any, path: str) -> Any:
    allowed = get_args(kind)
    if value in allowed:
        return value
    if value in ("true", "false") and (value == "true") in allowed:
        return value == "true"
    options = ", ".join(str(option) for option in allowed)
    raise BadParamError("", path, f"Invalid {path}: must be one of {options}")


def _scalar(kind: Any, value: Any, path: str) -> Any:
    if isinstance(value, dict | list):
        raise BadParamError("", path, f"Invalid string: {path}")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if kind is int:
        if not _INTEGER.match(text):
            raise BadParamError("parameter_invalid_integer", path, f"Invalid integer: {text}")
        return int(text)
    if kind in (float, Decimal):
        if not _NUMBER.match(text):
            raise BadParamError("", path, f"Invalid decimal: {text}")
        return float(text) if kind is float else Decimal(text)
    if kind is bool:
        if text not in ("true", "false"):
            raise BadParamError("", path, f"Invalid boolean: {text}")
        return text == "true"
    return text


def _first_fitting(members: tuple[Any, ...], value: Any, path: str) -> Any:
    failures: list[BadParamError] = []
    for member in members:
        try:
            return _value(member, value, path)
        except BadParamError as error:
            failures.append(error)
    nested = [error for error in failures if error.param != path]
    raise (nested or failures)[-1]
