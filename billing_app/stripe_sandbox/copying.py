"""Copies of JSON values, an order of magnitude faster than `copy.deepcopy`."""

from typing import Any

_CONTAINERS = (dict, list)


def copied(value: Any) -> Any:
    """A deep copy of a JSON value; what is neither a map nor a list is shared."""
    if isinstance(value, dict):
        return {
            key: copied(item) if isinstance(item, _CONTAINERS) else item
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [copied(item) if isinstance(item, _CONTAINERS) else item for item in value]
    return value


def public(value: Any) -> Any:
    """A deep copy without the sandbox's own fields, whose names begin with `_`."""
    if isinstance(value, dict):
        return {
            key: public(item) if isinstance(item, _CONTAINERS) else item
            for key, item in value.items()
            if not key.startswith("_")
        }
    if isinstance(value, list):
        return [public(item) if isinstance(item, _CONTAINERS) else item for item in value]
    return value
