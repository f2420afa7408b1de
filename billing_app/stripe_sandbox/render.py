"""Turns stored objects into answers: hides internal fields, cuts long lists, follows `expand`."""

import json
from collections.abc import Callable
from typing import Any

from billing_app.stripe_sandbox.contract import sdk
from billing_app.stripe_sandbox.contract.fits import PAGES, Checked, object_fits
from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.world import World, list_object

Include = Callable[[World, Json], Any]
INCLUDABLE: dict[tuple[str, str], Include] = {}
_NESTED_LIST_LIMIT = 10
_MAX_DEPTH = 4
_CONTAINERS = (dict, list)


def includable(name: str, field: str) -> Callable[[Include], Include]:
    """Registers a field that Stripe sends only when a request expands it."""

    def register(compute: Include) -> Include:
        INCLUDABLE[name, field] = compute
        return compute

    return register


def render(world: World, answer: Json, expand: Any) -> Json:
    """The answer as sent. Raises Stripe's error for a path that cannot be expanded."""
    if not expand:
        return _plain(world, answer)
    rendered = public(answer)
    for path in expand if isinstance(expand, list) else [expand]:
        steps = str(path).split(".")
        if len(steps) - (steps[0] == "data") > _MAX_DEPTH:
            raise invalid(f"You cannot expand more than {_MAX_DEPTH} levels of a property.")
        _expand(world, rendered, steps, str(path))
    return _cut(rendered)


def _plain(world: World, answer: Json) -> Json:
    if answer.get("object") in PAGES:
        return {**answer, "data": [_copy(world, row) for row in answer["data"]]}
    return _copy(world, answer)


def _copy(world: World, subject: Json) -> Json:
    """The object as sent, not to be changed.

    The copy of a stored object is made and checked once per version. A copy that breaks the
    contract is not kept, so that every answer with it is reported.
    """
    identifier = subject.get("id", "")
    if world.store.objects.get(identifier) is not subject:
        return _cut(public(subject))
    version = world.store.version(identifier)
    kept = world.checked_copies.get(identifier)
    if kept is not None and kept[0] == version:
        return kept[1]
    copy = _cut(public(subject))
    if version is None or not object_fits(copy):
        return copy
    checked = Checked(copy)
    world.checked_copies[identifier] = version, checked
    return checked


def encoded(answer: Json) -> bytes:
    """The answer as JSON; each version of a stored object is encoded once."""
    if answer.get("object") not in PAGES:
        return _text(answer).encode()
    frame = json.dumps({name: value for name, value in answer.items() if name != "data"})
    rows = ", ".join(map(_text, answer["data"]))
    return f'{frame[:-1]}, "data": [{rows}]}}'.encode()


def _text(subject: Json) -> str:
    if not isinstance(subject, Checked):
        return json.dumps(subject)
    if subject.text is None:
        subject.text = json.dumps(subject)
    return subject.text


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


def _cut(answer: Json) -> Json:
    """The answer with its nested lists cut to ten items, as Stripe sends them."""
    return {
        key: _cut_value(value) if isinstance(value, _CONTAINERS) else value
        for key, value in answer.items()
    }


def _cut_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_cut_value(item) if isinstance(item, _CONTAINERS) else item for item in value]
    cut = _cut(value)
    if cut.get("object") == "list" and len(cut["data"]) > _NESTED_LIST_LIMIT:
        return list_object(cut["data"][:_NESTED_LIST_LIMIT], cut["url"]) | {"has_more": True}
    return cut
