"""Errors that DBOS stores come back as they were."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from dbos._serialization import DBOSDefaultSerializer
from hypothesis import given, settings
from hypothesis import strategies as st

import billing_app
from billing_app.billing.errors import StorableError


def _kinds(base: type[StorableError]) -> Iterator[type[StorableError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _all_kinds() -> list[type[StorableError]]:
    for package in ("api", "billing", "jobs", "mail", "payments"):
        root = importlib.import_module(f"{billing_app.__name__}.{package}")
        for module in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            importlib.import_module(module.name)
    return sorted(set(_kinds(StorableError)), key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", _all_kinds(), ids=lambda kind: kind.__name__)
@settings(max_examples=5)
@given(st.data())
def test_error_is_stored_and_read_again(kind: type[StorableError], data: st.DataObject) -> None:
    error: Any = data.draw(st.builds(kind))
    again = DBOSDefaultSerializer.deserialize(DBOSDefaultSerializer.serialize(error))
    assert type(again) is kind
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
