"""The types of the SDK's generated classes, resolved at run time.

The SDK writes its annotations for type checkers: it imports names under TYPE_CHECKING, and nested
classes refer to their siblings by bare name. This module resolves them to real types, lazily and
once per class. The canary tests in `tests/stripe_sandbox/test_contract.py` fail when a new SDK
breaks what this module relies on.
"""

import ast
import importlib
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from stripe._api_version import _ApiVersion
from stripe._object_classes import OBJECT_CLASSES, V2_OBJECT_CLASSES
from stripe._request_options import RequestOptions
from stripe._stripe_object import StripeObject, UntypedStripeObject

API_VERSION = _ApiVersion.CURRENT
REQUEST_OPTIONS = frozenset(RequestOptions.__annotations__)
UNIONS = (Union, types.UnionType)
_TYPE_CHECKING = re.compile(r"^if TYPE_CHECKING:\n((?:[ \t]+.*\n|\n)+)", re.MULTILINE)


@cache
def object_class(name: str) -> type[StripeObject] | None:
    """The SDK's class for an object name such as `subscription` or `checkout.session`."""
    found = OBJECT_CLASSES.get(name) or V2_OBJECT_CLASSES.get(name)
    if found is None:
        return None
    module, class_name = found
    return getattr(importlib.import_module(module), class_name)


@cache
def _type_checking_imports(module_name: str) -> Mapping[str, Any]:
    names: dict[str, Any] = {}
    for item in _type_checking_block(sys.modules[module_name]):
        if not isinstance(item, ast.ImportFrom) or not item.module or ".params" in item.module:
            continue
        module = importlib.import_module(item.module)
        for alias in item.names:
            names[alias.asname or alias.name] = getattr(module, alias.name, Any)
    return names


def _type_checking_block(module: types.ModuleType) -> list[ast.stmt]:
    """The statements under `if TYPE_CHECKING:`; parsing whole modules would take a second."""
    source = Path(str(module.__file__)).read_text()
    block = _TYPE_CHECKING.search(source)
    return ast.parse(textwrap.dedent(block[1])).body if block else []


@cache
def _module_names(module_name: str) -> dict[str, Any]:
    module = sys.modules[module_name]
    return {
        **vars(typing),
        "Literal": Literal,
        **_type_checking_imports(module_name),
        **vars(module),
    }


def _enclosing_names(cls: type) -> dict[str, Any]:
    names: dict[str, Any] = {}
    scope: Any = sys.modules[cls.__module__]
    for part in cls.__qualname__.split("."):
        scope = getattr(scope, part)
        names.update({key: value for key, value in vars(scope).items() if inspect.isclass(value)})
    return names


def _resolve(annotation: Any, names: dict[str, Any]) -> Any:
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return _resolve(eval(annotation, names), names)  # noqa: S307 - the SDK's own source
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if not arguments or origin is Literal:
        return annotation
    resolved = tuple(_resolve(argument, names) for argument in arguments)
    if origin is None or origin in UNIONS:
        return Union[resolved]  # noqa: UP007 - the members are known at run time only
    if origin in (typing.NotRequired, typing.Required) or str(origin).endswith("Required"):
        return resolved[0]
    return origin[resolved[0] if len(resolved) == 1 else resolved]


def _is_internal(name: str, annotation: Any) -> bool:
    text = annotation if isinstance(annotation, str) else str(annotation)
    return name.startswith("_") or "ClassVar" in text


@cache
def answer_fields(cls: type) -> Mapping[str, Any]:
    """Field name as sent over the wire -> type, for a class of an answer."""
    names = {**_module_names(cls.__module__), **_enclosing_names(cls)}
    fields: dict[str, Any] = {}
    for name, annotation in inspect.get_annotations(cls).items():
        if not _is_internal(name, annotation):
            fields[name.removesuffix("_")] = _resolve(annotation, names)
    return fields


@cache
def param_fields(params: type) -> Mapping[str, tuple[bool, Any]]:
    """Parameter name -> (required, type), for a TypedDict of `stripe.params`."""
    names = {**vars(typing), "Literal": Literal, **vars(sys.modules[params.__module__])}
    required = getattr(params, "__required_keys__", frozenset())
    fields: dict[str, tuple[bool, Any]] = {}
    for name, annotation in inspect.get_annotations(params).items():
        if name in REQUEST_OPTIONS:
            continue
        text = annotation.__forward_arg__ if isinstance(annotation, typing.ForwardRef) else ""
        is_required = name in required and "NotRequired" not in str(annotation) + text
        fields[name.removesuffix("_")] = (is_required, _resolve(annotation, names))
    return fields


@cache
def params_class(name: str) -> type:
    """The TypedDict of `stripe.params` for a dotted name such as `checkout.SessionCreateParams`."""
    *package, class_name = name.split(".")
    module = importlib.import_module(".".join(["stripe.params", *package]))
    return getattr(module, class_name)


def union_members(kind: Any) -> tuple[Any, ...]:
    """The members of a union without None; an open enum (`Literal[...] | str`) counts as closed.

    The SDK adds `str` to enums so that old clients accept new values. A stand-in for one version
    must not invent values, so only the listed ones are valid.
    """
    members = tuple(member for member in get_args(kind) if member is not type(None))
    if any(get_origin(member) is Literal and get_args(member) != ("",) for member in members):
        members = tuple(member for member in members if member is not str)
    return members


def is_optional(kind: Any) -> bool:
    return get_origin(kind) in UNIONS and type(None) in get_args(kind)


def is_untyped(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return origin is UntypedStripeObject
