"""Turns stored objects into answers: own fields left out, long lists cut, `expand` followed."""

from collections.abc import Callable
from typing import Any

from billing_app.stripe_sandbox.contract import sdk
from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.world import World, list_object, public

Include = Callable[[World, Json], Any]
INCLUDABLE: dict[tuple[str, str], Include] = {}
_NESTED_LIST_LIMIT = 10
_MAX_DEPTH = 4


def includable(name: str, field: str) -> Callable[[Include], Include]:
    """Registers a field that Stripe sends only when it is expanded."""

    def register(compute: Include) -> Include:
        INCLUDABLE[name, field] = compute
        return compute

    return register


def render(world: World, answer: Json, expand: Any) -> Json:
    """The answer as sent. Raises Stripe's error for a path that cannot be expanded."""
    rendered = public(answer)
    for path in expand if isinstance(expand, list) else [expand] if expand else []:
        steps = str(path).split(".")
        if len(steps) - (steps[0] == "data") > _MAX_DEPTH:
            raise invalid(f"You cannot expand more than {_MAX_DEPTH} levels of a property.")
        _expand(world, rendered, steps, str(path))
    return _cut(rendered, nested=False)


def _expand(world: World, node: Any, steps: list[str], path: str) -> None:
    if isinstance(node, list):
        for child in node:
            _expand(world, child, steps, path)
        return
    if not steps or not isinstance(node, dict):
        return
    step, rest = steps[0], steps[1:]
    include = INCLUDABLE.get((node.get("object", ""), step))
    if include is not None and step not in node:
        node[step] = public(include(world, world.store.objects.get(node.get("id", ""), node)))
    if step not in node:
        if _declares(node, step):
            return
        raise invalid(f"This property cannot be expanded ({path}).", param="expand[]")
    node[step] = _expanded(world, node[step])
    _expand(world, node[step], rest, path)


def _declares(node: Json, step: str) -> bool:
    cls = sdk.object_class(node.get("object", ""))
    return cls is None or step in sdk.answer_fields(cls)


def _expanded(world: World, value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(world, item) for item in value]
    found = world.store.find(value) if isinstance(value, str) else None
    if found is None:
        return value
    return deleted(found) if found.get("_deleted") else public(found)


def deleted(found: Json) -> Json:
    return {"id": found["id"], "object": found["object"], "deleted": True}


def _cut(node: Any, *, nested: bool) -> Any:
    if isinstance(node, list):
        return [_cut(item, nested=True) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _cut(value, nested=True) for key, value in node.items()}
    if nested and result.get("object") == "list" and len(result["data"]) > _NESTED_LIST_LIMIT:
        return list_object(result["data"][:_NESTED_LIST_LIMIT], result["url"]) | {"has_more": True}
    return result
