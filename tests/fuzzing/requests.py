"""Generates requests for one operation, sends them as various callers, and collects faults."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from tests.fuzzing.rules import checks_of, faults_of, plain_numbers
from tests.fuzzing.scene import FuzzCaller, FuzzScene

STAFF: Final = "/billing/admin/"
TIMEOUT_SECONDS: Final = 60
BOTH: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
# Some texts and bodies are slow to generate.
WITHOUT_HEALTH_CHECKS: Final[Any] = list(HealthCheck)
# Any refusal will do for a wrong request: what is asked for may not be there either.
SETTINGS: Final[dict[str, Any]] = {
    "generation": {"with-security-parameters": False, "allow-x00": True},
    "checks": {
        "negative_data_rejection": {
            "expected-statuses": [400, 401, 402, 403, 404, 405, 409, 413, 415, 422]
        }
    },
}


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` and `operation` tell two faults apart; `request` is one that shows it."""

    operation: str
    kind: str
    detail: str
    request: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.kind}\n  {self.detail}\n  {self.request}"


class Fuzzer:
    """Sends requests to a scene; `faults` has the first of each kind."""

    def __init__(self, scene: FuzzScene) -> None:
        self.scene = scene
        self.sent = 0
        self.accepted = 0
        self.statuses: dict[str, set[int]] = {}
        self._faults: dict[tuple[str, str], Fault] = {}
        self._session = requests.Session()
        self._session.trust_env = False

    @property
    def faults(self) -> list[Fault]:
        return list(self._faults.values())

    def operations(
        self, document: dict[str, Any] | None = None
    ) -> Iterator["APIOperation[Any, Any, Any, Any]"]:
        """Every operation of the document, by default the one that the site serves."""
        config = schemathesis.Config.from_dict(SETTINGS)
        schema = schemathesis.openapi.from_dict(document or self.scene.document, config=config)
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            yield found.ok()

    def fuzz(
        self,
        operation: "APIOperation[Any, Any, Any, Any]",
        *,
        examples: int,
        first_seed: int = 0,
        modes: Sequence[GenerationMode] = BOTH,
    ) -> None:
        """Send requests that the document allows, and requests that it does not."""
        for mode in modes:
            if mode.is_negative and not _can_be_wrong(operation):
                continue

            @seed(first_seed)
            @settings(
                max_examples=examples,
                database=None,
                deadline=None,
                phases=(Phase.generate,),
                suppress_health_check=WITHOUT_HEALTH_CHECKS,
            )
            @given(case=operation.as_strategy(mode), data=st.data())
            def send(case: Case, data: st.DataObject) -> None:
                self._try(case, data)

            try:
                send()
            except Unsatisfiable:
                # Nothing is wrong for a path parameter that is any text.
                if mode.is_positive:
                    raise

    def _try(self, case: Case, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(self._callers(case.path)))
        _use_known(case, self.scene.known, data)
        case.body = plain_numbers(case.body)
        response = case.call(
            self.scene.url,
            session=self._session,
            headers=dict(caller.headers),
            cookies=dict(caller.cookies),
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
        )
        self.sent += 1
        self.accepted += response.status_code < 300
        self.statuses.setdefault(case.operation.label, set()).add(response.status_code)
        for kind, detail in faults_of(case, response, caller):
            self._add(case, kind, detail, caller)
        try:
            case.validate_response(
                response, checks=checks_of(case, response), headers=dict(caller.headers)
            )
        except FailureGroup as group:
            for failure in group.exceptions:
                detail = f"{failure}\n  {response.status_code} {response.text[:300]}"
                self._add(case, type(failure).__name__, detail, caller)

    def _add(self, case: Case, kind: str, detail: str, caller: FuzzCaller) -> None:
        label = case.operation.label
        curl = f"as {caller.name}: {case.as_curl_command()[:1500]}"
        self._faults.setdefault((label, kind), Fault(label, kind, detail, curl))

    def _callers(self, path: str) -> list[FuzzCaller]:
        """Mostly those who may do it."""
        able = self.scene.able_staff if path.startswith(STAFF) else self.scene.able
        return [*able * len(self.scene.others), *self.scene.others]


def _can_be_wrong(operation: "APIOperation[Any, Any, Any, Any]") -> bool:
    return bool(operation.definition.raw.get("parameters") or operation.body)


def _use_known(case: Case, known: Mapping[str, tuple[Any, ...]], data: st.DataObject) -> None:
    """Put ids that exist in the place of generated ones, mostly, in what the document allows."""
    assert case.meta is not None
    wrong = {
        location.name.lower()
        for location, part in case.meta.components.items()
        if part.mode.is_negative
    }
    parts = {"path": case.path_parameters, "query": case.query}
    if isinstance(case.body, dict):
        parts["body"] = case.body
        items = case.body.get("items")
        for item in items if isinstance(items, list) and "body" not in wrong else ():
            if isinstance(item, dict):
                _put(item, known, data, "")
    for name, part in parts.items():
        if part and name not in wrong:
            kind = "webhooks/" if "/webhooks/" in case.path else ""
            _put(part, known, data, kind)


def _put(
    part: dict[str, Any], known: Mapping[str, tuple[Any, ...]], data: st.DataObject, kind: str
) -> None:
    for name, value in part.items():
        ids = known.get(kind + name) or known.get(name)
        if ids and value is not None and data.draw(st.integers(0, 3)):
            part[name] = data.draw(st.sampled_from(ids))
