"""How many examples Hypothesis tries.

By default the examples are the same in each run, so that only a change of the code can break them;
`HYPOTHESIS_PROFILE=thorough pytest -o timeout=0` tries many more, different ones in each run.
"""

import os

from hypothesis import HealthCheck, Phase, settings

# Without the phase that explains a failure: it costs minutes where an example takes a second.
_common = {
    "phases": (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
}
settings.register_profile(
    "quick", max_examples=100, stateful_step_count=25, derandomize=True, **_common
)
settings.register_profile("thorough", max_examples=3000, stateful_step_count=60, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def examples(share: float) -> int:
    """A share of the usual number of examples, for an expensive test."""
    return max(1, int(settings().max_examples * share))
