"""Rules for all resources: merging metadata, setting plain fields, deleting."""

from collections.abc import Iterable

from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.render import deleted
from billing_app.stripe_sandbox.world import World


def merged_metadata(current: Json | None, change: Json | str | None) -> Json:
    """Stripe's rule: an empty value unsets a key; an empty string unsets all keys."""
    if change is None:
        return dict(current or {})
    if isinstance(change, str):
        return {}
    merged = {**(current or {}), **change}
    return {key: value for key, value in merged.items() if value != ""}


def apply_fields(target: Json, params: Json, names: Iterable[str]) -> None:
    """Sets plain fields and merges metadata; an empty string unsets a field."""
    for name in names:
        if name in params:
            target[name] = None if params[name] == "" else params[name]
    if "metadata" in params:
        target["metadata"] = merged_metadata(target.get("metadata"), params["metadata"])


def remove(world: World, identifier: str, name: str, event: str | None) -> Json:
    """Marks an object deleted; it can still be retrieved as a stub."""
    world.store.get(identifier, name)
    subject = world.store.edit(identifier)
    if event:
        world.emit(event, subject)
    subject["_deleted"] = True
    return deleted(subject)
