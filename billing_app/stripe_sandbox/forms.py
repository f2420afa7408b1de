"""Decodes Stripe's request bodies: forms with bracketed names."""

import re
from typing import Any
from urllib.parse import parse_qsl

from billing_app.stripe_sandbox.errors import Json, invalid

_KEYS = re.compile(r"[^\[\]]+")


def decode_form(text: str) -> Json:
    """`items[0][price]=p&metadata[a]=1&expand[]=x` as nested maps and lists of strings."""
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
