"""The file that keeps a sandbox's state over restarts, written whole or not at all."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from billing_app.stripe_sandbox.idempotency import IdempotencyKeys, KeptAnswer
from billing_app.stripe_sandbox.world import World


class DataFile:
    """Saves and loads a world and its idempotency keys; encodes only what has changed."""

    def __init__(self, path: Path, world: World, keys: IdempotencyKeys) -> None:
        self.path, self._world, self._keys = path, world, keys
        self._objects: dict[str, tuple[int | None, str]] = {}
        self._answers: dict[str, tuple[KeptAnswer, str]] = {}
        self._saved = ""

    def load(self) -> None:
        """Reads the state, if there is a file."""
        if not self.path.exists():
            return
        state = json.loads(self.path.read_text())
        kept = state.pop("idempotency", {})
        self._world.load(state)
        self._keys.answers = {key: KeptAnswer(**value) for key, value in kept.items()}

    def save(self) -> None:
        """Writes the state if it differs from what was written last."""
        text = self._text()
        if text == self._saved:
            return
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(text)
        os.replace(temporary, self.path)  # noqa: PTH105 - atomic, and says so
        self._saved = text

    def _text(self) -> str:
        world = self._world
        parts = {
            "account_id": json.dumps(world.account_id),
            "objects": f"[{', '.join(self._object_texts())}]",
            "settings": json.dumps(asdict(world.settings)),
            "skipped_seconds": json.dumps(world.skipped_seconds),
            "idempotency": f"{{{', '.join(self._answer_texts())}}}",
        }
        return f"{{{', '.join(f'{json.dumps(name)}: {part}' for name, part in parts.items())}}}"

    def _object_texts(self) -> list[str]:
        store, earlier = self._world.store, self._objects
        self._objects = {}
        for identifier, subject in store.objects.items():
            version = store.version(identifier)
            kept = earlier.get(identifier)
            if kept is None or kept[0] != version:
                kept = version, json.dumps(subject)
            self._objects[identifier] = kept
        return [text for _, text in self._objects.values()]

    def _answer_texts(self) -> list[str]:
        earlier = self._answers
        self._answers = {}
        for key, answer in self._keys.answers.items():
            kept = earlier.get(key)
            if kept is None or kept[0] is not answer:
                kept = answer, f"{json.dumps(key)}: {json.dumps(vars(answer))}"
            self._answers[key] = kept
        return [text for _, text in self._answers.values()]
