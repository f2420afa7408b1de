"""The HTTP contract. A failed `assert` in `asking` tells its values, as one in a test does."""

import pytest

pytest.register_assert_rewrite("tests.api.contract.asking")
