"""All of the sandbox's state: objects by id, with an undo journal.

`get` is for reading. `edit` is for writing: it records what the object was, so that a failed
request, a preview or a declined payment can be undone exactly. A `with store.savepoint()` block
that raises is undone; blocks nest.

Every write gives the object a new version. What was derived from an object (its checked copy, its
due moments, its text in the data file) stays good for as long as its version does.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from billing_app.stripe_sandbox.copying import copied
from billing_app.stripe_sandbox.errors import Json, no_such

_Frame = dict[str, Json | None]


def _ignore() -> None:
    pass


class Store:
    """Objects in order of creation. Names beginning with `_` are the sandbox's own."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.on_write: Callable[[], None] = _ignore
        self._kinds: dict[str, dict[str, None]] = {}
        self._frames: list[_Frame] = []
        self._versions: dict[str, int] = {}
        self._writes = 0
        self._written: set[str] = set()

    def get(self, identifier: str, name: str | None = None, *, param: str = "id") -> Json:
        """The object, for reading. Raises Stripe's `resource_missing`."""
        found = self.objects.get(identifier)
        if found is None or (name is not None and found["object"] != name):
            raise no_such(name or "object", identifier, param)
        return found

    def find(self, identifier: str | None) -> Json | None:
        return self.objects.get(identifier) if identifier else None

    def edit(self, identifier: str) -> Json:
        """The object, for writing."""
        found = self.objects[identifier]
        if self._frames and identifier not in self._frames[-1]:
            self._frames[-1][identifier] = copied(found)
        self._mark_written(identifier)
        return found

    def add(self, new: Json) -> Json:
        identifier = new["id"]
        if self._frames:
            self._frames[-1].setdefault(identifier, None)
        self.objects[identifier] = new
        self._kinds.setdefault(new["object"], {})[identifier] = None
        self._mark_written(identifier)
        return new

    def all(self, name: str, where: Callable[[Json], bool] | None = None) -> Iterator[Json]:
        """Objects of one kind, oldest first, for reading."""
        for identifier in list(self._kinds.get(name, ())):
            found = self.objects[identifier]
            if where is None or where(found):
                yield found

    def version(self, identifier: str) -> int | None:
        """The object's version; None while an open savepoint writes to it."""
        if any(identifier in frame for frame in self._frames):
            return None
        return self._versions.get(identifier)

    def take_written(self) -> set[str]:
        """Ids written, undone or removed since the last call."""
        written, self._written = self._written, set()
        return written

    def before(self, identifier: str) -> Json | None:
        """The object as it was when the innermost open savepoint began; None if it is new."""
        frame = self._frames[-1] if self._frames else {}
        return frame.get(identifier, self.objects.get(identifier))

    def touched(self) -> list[str]:
        """Ids written since the innermost open savepoint began."""
        return list(self._frames[-1]) if self._frames else []

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undoes everything inside the block if it raises."""
        self._frames.append({})
        try:
            yield
        except BaseException as error:
            self._undo(self._frames.pop(), getattr(error, "keep", frozenset()))
            raise
        self._merge(self._frames.pop())

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Undoes everything inside the block, always."""
        self._frames.append({})
        try:
            yield
        finally:
            self._undo(self._frames.pop(), frozenset())

    def restore(self, identifier: str) -> Json:
        """Sets one object back to what it was at the innermost open savepoint."""
        earlier = self.before(identifier)
        assert earlier is not None
        self.objects[identifier] = copied(earlier)
        self._mark_written(identifier)
        return self.objects[identifier]

    def load(self, objects: list[Any]) -> None:
        self._written.update(self.objects)
        self.objects, self._kinds, self._versions = {}, {}, {}
        for found in objects:
            self.add(found)

    def remove(self, identifier: str) -> None:
        """Takes an object out for good."""
        self.edit(identifier)
        self._forget(identifier)

    def _undo(self, frame: _Frame, keep: frozenset[str]) -> None:
        kept: _Frame = {}
        for identifier, earlier in frame.items():
            if identifier in keep:
                kept[identifier] = earlier
            elif earlier is None:
                self._forget(identifier)
            else:
                self._put_back(identifier, earlier)
        self._merge(kept)

    def _put_back(self, identifier: str, earlier: Json) -> None:
        self.objects[identifier] = earlier
        self._kinds[earlier["object"]].setdefault(identifier)
        self._mark_written(identifier)

    def _forget(self, identifier: str) -> None:
        found = self.objects.pop(identifier, None)
        if found is not None:
            del self._kinds[found["object"]][identifier]
            self._mark_written(identifier)

    def _merge(self, frame: _Frame) -> None:
        if not self._frames:
            return
        outer = self._frames[-1]
        for identifier, earlier in frame.items():
            outer.setdefault(identifier, earlier)

    def _mark_written(self, identifier: str) -> None:
        self._writes += 1
        self._versions[identifier] = self._writes
        self._written.add(identifier)
        self.on_write()
