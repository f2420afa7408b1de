"""Bad input. A failed `assert` in `refusals` tells its values, as one in a test does."""

import pytest

pytest.register_assert_rewrite("tests.api.bad_input.refusals")
