"""The HTTP contract. A failed `assert` in `requests` shows its values, as in a test."""

import pytest

pytest.register_assert_rewrite("tests.api.contract.asking")
