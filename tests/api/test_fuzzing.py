"""A few forged requests to every route: no server error, nothing undocumented, nothing valid
refused. `make fuzz` sends many more."""

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.databases import create_database
from tests.fuzzing.requests import BOTH, Fuzzer
from tests.fuzzing.scene import FuzzScene, open_scene
from tests.payments.conftest import sandbox_process  # noqa: F401
from tests.stripe_sandbox.running import Sandbox

OFFERS = "/billing/offers"
JOBS = "/billing/admin/jobs"
WRONG_EACH = 4


@pytest.fixture(scope="module")
async def scene(
    sandbox_process: Sandbox,  # noqa: F811
    server_url: str,
    database_template: str,
) -> AsyncIterator[FuzzScene]:
    sandbox_process.control("reset")
    opened = await open_scene(
        sandbox_process, create_database(server_url, "fuzzing", database_template)
    )
    yield opened
    opened.storefront.stop()


def test_routes_answer_as_documented(scene: FuzzScene) -> None:
    fuzzer = Fuzzer(scene)
    operations = list(fuzzer.operations())
    assert len(operations) > 80
    for place, operation in enumerate(operations):
        # Routes share their parameters, and each costs a tenth of a second.
        modes = BOTH if place % WRONG_EACH == 0 else BOTH[:1]
        fuzzer.fuzz(operation, examples=1, modes=modes)
    assert [str(fault) for fault in fuzzer.faults] == []
    assert len(fuzzer.statuses) == len(operations)
    assert fuzzer.accepted > len(operations) / 4


def lies(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Documents with one lie each, by the kind of the fault."""
    kinds = ("UndefinedStatusCode", "valid request refused", "AcceptedNegativeData")
    undocumented, refused, accepted = (copy.deepcopy(document)["paths"] for _ in kinds)
    del undocumented[OFFERS]["get"]["responses"]["200"]
    _schema(refused, "limit").update(minimum=1_000, maximum=2_000)
    _schema(accepted, "name")["maxLength"] = 1
    return {
        kind: {**document, "paths": paths}
        for kind, paths in zip(kinds, (undocumented, refused, accepted), strict=True)
    }


def _schema(paths: dict[str, Any], name: str) -> dict[str, Any]:
    """Of the only parameter that the document then has."""
    operation = paths[JOBS]["get"]
    (only,) = (each for each in operation["parameters"] if each["name"] == name)
    operation["parameters"] = [only]
    return only["schema"]


def test_faults_are_found(scene: FuzzScene) -> None:
    for kind, document in lies(scene.document).items():
        fuzzer = Fuzzer(scene)
        for operation in fuzzer.operations(document):
            if operation.path in (OFFERS, JOBS):
                fuzzer.fuzz(operation, examples=20)
        assert kind in {fault.kind for fault in fuzzer.faults}, kind
