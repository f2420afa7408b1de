"""The account used by the tests of the HTTP contract."""

import pytest

from tests.factories import Holder, organization


@pytest.fixture
def holder(api_database_url: str) -> Holder:
    """An organization with 10 executions, then 5."""
    return organization(api_database_url, 10, 5)
