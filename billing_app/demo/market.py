"""The demo's market: who uses how much on which day, the same each time. Pure."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

WEEKEND: Final = 5
SLOTS: Final = ((8, 0.28), (11, 0.34), (16, 0.38))
WORKFLOWS: Final = (
    ("invoice-extraction", 0.38),
    ("support-triage", 0.26),
    ("nightly-report", 0.2),
    ("lead-enrichment", 0.16),
)
TRIAL_PEOPLE: Final = 44
TRIAL_SPREAD_DAYS: Final = 78


@dataclass(frozen=True, slots=True)
class Business:
    """An organization. It wants `percent` of its executions in all; beyond 100 it is refused.
    `trend`: how many times as busy it is now as when it started. `weekend`: the share of a working
    day's use on a weekend day."""

    name: str
    executions: int
    percent: int
    age_days: int
    trend: float = 1.6
    weekend: float = 0.3
    people: tuple[str, ...] = ()
    workflows: int = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial user, and how much of the trial they want."""

    number: int
    name: str
    age_days: int
    percent: int
    active_days: int

    @property
    def user_id(self) -> str:
        return f"usr_demo_trial_{self.number:02}"


@dataclass(frozen=True, slots=True)
class Use:
    """Executions of a workflow on a day, in one of its slots."""

    slot: int
    workflow: str
    user_id: str
    executions: int


BUSINESSES: Final = (
    Business("Alpenglow Analytics", 40_000, 31, 88, people=("lena", "marco")),
    Business("Bergström & Söner", 25_000, 93, 74, trend=2.2, people=("elsa", "nils", "olof")),
    Business("Café Lumière", 5_000, 107, 61, trend=1.3, weekend=1.2, workflows=2),
    Business("Delta Freight", 120_000, 54, 57, trend=1.2, weekend=0.8, workflows=4),
    Business("Éclair Robotics", 60_000, 82, 43, trend=2.6, weekend=0.15, people=("chloé", "hugo")),
    Business("Fjord Insurance", 250_000, 12, 39, trend=2.0, weekend=0.1, workflows=4),
    Business("Greenhouse Labs", 15_000, 118, 33, trend=1.8, people=("priya", "sam")),
    Business("Harbor Legal", 30_000, 66, 28, trend=1.1, weekend=0.05),
    Business("Iris Diagnostics", 90_000, 38, 31, trend=1.5, weekend=0.7, workflows=4),
    Business("Juniper Travel", 10_000, 45, 16, trend=1.4, weekend=1.4, workflows=2),
    Business("Kestrel Games", 50_000, 9, 12, trend=3.0, weekend=1.3),
    Business("Lumen Energy", 75_000, 0, 2),
)
FIRST_NAMES: Final = (
    "Amara", "Bruno", "Carmen", "Dmitri", "Elif", "Farid", "Greta", "Hiro", "Ines", "Jonah", "Kaya",
)  # fmt: skip
LAST_NAMES: Final = ("Okafor", "Silva", "Novak", "Haddad")


def trials(seed: int = 1843) -> list[Trial]:
    """More each week; most only look around, some use the trial up."""
    generator = random.Random(seed)  # noqa: S311
    people: list[Trial] = []
    for number in range(TRIAL_PEOPLE):
        name = f"{FIRST_NAMES[number % 11]} {LAST_NAMES[number // 11]}"
        age_days = round(TRIAL_SPREAD_DAYS * generator.random() ** 1.5)
        keen = generator.random()
        percent = round(120 + 40 * keen) if keen > 0.7 else round(8 + 90 * keen)
        people.append(Trial(number, name, age_days, percent, generator.randint(3, 16)))
    return people


def use_of_business(business: Business, total: int, last: date) -> dict[date, list[Use]]:
    """Its use by day from the start until `last`; about `total` executions in all."""
    generator = random.Random(business.name)  # noqa: S311
    first = last - timedelta(days=business.age_days)
    growth = business.trend ** (1 / max(1, business.age_days))

    def weight(day: date, number: int) -> float:
        rhythm = business.weekend if day.weekday() >= WEEKEND else 1.0
        return rhythm * growth**number * generator.uniform(0.8, 1.25)

    counts = _spread(total, first, last, weight)
    shares = WORKFLOWS[: business.workflows]
    return {day: _uses(generator, count, shares, business.people) for day, count in counts.items()}


def use_of_trial(trial: Trial, total: int, last: date) -> dict[date, list[Use]]:
    """Busy at first, then less; on some days none."""
    generator = random.Random(trial.user_id)  # noqa: S311
    first = last - timedelta(days=trial.age_days)
    until = min(last, first + timedelta(days=trial.active_days))

    def weight(_: date, number: int) -> float:
        return 0.9**number * generator.uniform(0.5, 1.5) * (number == 0 or generator.random() > 0.2)

    counts = _spread(total, first, until, weight)
    shares = WORKFLOWS[trial.number % 3 :][:2]
    return {day: _uses(generator, count, shares, ()) for day, count in counts.items() if count}


def _spread(
    total: int, first: date, last: date, weight: Callable[[date, int], float]
) -> dict[date, int]:
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    weights = [weight(day, number) for number, day in enumerate(days)]
    whole = sum(weights) or 1.0
    return {day: int(total * part / whole) for day, part in zip(days, weights, strict=True)}


def _uses(
    generator: random.Random,
    count: int,
    shares: tuple[tuple[str, float], ...],
    people: tuple[str, ...],
) -> list[Use]:
    whole = sum(share for _, share in shares)
    uses: list[Use] = []
    for slot, (_, part) in enumerate(SLOTS):
        for workflow, share in shares:
            executions = round(count * part * share / whole * generator.uniform(0.85, 1.15))
            user_id = generator.choice(people) if people else ""
            if executions:
                uses.append(Use(slot, workflow, user_id, executions))
    return uses
