"""Tests on a real Citus cluster; skipped without one."""

from pathlib import Path

import pytest

from tests.distributed.cluster import SKIPPED, URL

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if URL is None:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=SKIPPED))
