"""Decodes Stripe's request bodies: bracketed forms for v1, JSON for v2."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl

from billing_app.stripe_sandbox.errors import Json, invalid

_KEYS = re.compile(r"[^\[\]]+")


def decode(body: str, content_type: str) -> Json:
    """The request's parameters as nested maps and lists; values are still strings."""
    if "json" in content_type:
        return _decode_json(body)
    return decode_form(body)


def _decode_json(body: str) -> Json:
    try:
        value = json.loads(body or "{}")
    except ValueError as error:
        raise invalid("The request body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise invalid("The request body is not a JSON object.")
    return value


def decode_form(text: str) -> Json:
    """`items[0][price]=p&metadata[a]=1&expand[]=x` -> nested maps and lists."""
    root: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        keys = _KEYS.findall(name)
        if not keys:
            raise invalid("Empty parameter name.")
        _put(root, keys, value, appends=name.endswith("[]"))
    return {key: _with_lists(value) for key, value in root.items()}


def _put(root: Json, keys: list[str], value: str, *, appends: bool) -> None:
    node: Any = root
    for key in keys[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise invalid(f"Invalid hash: {keys[0]}", param=keys[0])
    if appends:
        items = node.setdefault(keys[-1], {})
        items[str(len(items))] = value
    else:
        node[keys[-1]] = value


def _with_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    children = {key: _with_lists(child) for key, child in value.items()}
    if children and all(key.isdigit() for key in children):
        return [children[key] for key in sorted(children, key=int)]
    return children
