"""Bad input. A failed `assert` in `refusals` shows its values, as in a test."""

import pytest

pytest.register_assert_rewrite("tests.api.bad_input.refusals")
