"""How long Hypothesis looks.

The usual examples are the same in each run, so that a change is judged by what it changed;
`HYPOTHESIS_PROFILE=thorough pytest -o timeout=0` looks for long, at others each time.
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
    """So many examples of a test that is dearer than others."""
    return max(1, int(settings().max_examples * share))
