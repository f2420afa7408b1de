"""Faults that a test orders: of the API itself, and of webhook deliveries."""

from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from billing_app.stripe_sandbox.errors import Json, invalid

API_KINDS = frozenset({"status", "hang", "reset"})
WEBHOOK_KINDS = frozenset({"duplicate", "delay", "reorder", "drop", "stale", "wrong_secret"})


@dataclass
class Fault:
    """One fault, which applies `times` times, after the first `skip` matches.

    API: `method` and `path` (a glob such as `/v1/subscriptions*`), `when` before or after the
    effect. Webhooks: `event_type` (a glob), `count` of copies or of events held for reordering.
    """

    kind: str
    method: str = "*"
    path: str = "*"
    when: str = "before"
    event_type: str = "*"
    times: int = 1
    skip: int = 0
    status: int = 500
    seconds: float = 0.0
    count: int = 2
    error: Json = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Faults:
    """The faults that still apply, oldest first."""

    active: list[Fault] = field(default_factory=list)

    def add(self, data: Json) -> Fault:
        known = {entry.name for entry in fields(Fault)}
        if unknown := data.keys() - known:
            raise invalid(f"Unknown fault fields: {', '.join(sorted(unknown))}")
        if data.get("kind") not in API_KINDS | WEBHOOK_KINDS:
            raise invalid(f"Unknown fault kind: {data.get('kind')!r}")
        if data.get("when", "before") not in ("before", "after"):
            raise invalid("when must be before or after")
        fault = Fault(**data)
        self.active.append(fault)
        return fault

    def for_request(self, method: str, path: str) -> Fault | None:
        for fault in self.active:
            if (
                fault.kind in API_KINDS
                and fnmatchcase(method, fault.method)
                and fnmatchcase(path, fault.path)
            ):
                if fault.skip:
                    fault.skip -= 1
                    continue
                return self._use(fault)
        return None

    def for_event(self, event_type: str) -> Fault | None:
        for fault in self.active:
            if fault.kind in WEBHOOK_KINDS and fnmatchcase(event_type, fault.event_type):
                return self._use(fault)
        return None

    def clear(self) -> None:
        self.active.clear()

    def dump(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self.active]

    def _use(self, fault: Fault) -> Fault:
        fault.times -= 1
        if fault.times <= 0:
            self.active.remove(fault)
        return fault
