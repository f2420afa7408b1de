"""What pages draw: small frozen values, numbers already in words. Never a model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is signed in."""

    name: str = ""
    email: str = ""
    initials: str = ""


@dataclass(frozen=True, slots=True)
class AccountChoice:
    """An account that the viewer may look at."""

    account_id: str = ""
    name: str = ""
    kind: str = ""
    initials: str = ""
    export_query: str = ""


@dataclass(frozen=True, slots=True)
class BalanceView:
    """What is left. `tone` is "", "warning" from 80 % on, "spent" at 100 %."""

    has_plan: bool = False
    plan_name: str = ""
    plan_type: str = ""
    remaining: str = ""
    of_total: str = ""
    pace: str = ""
    runs_out: str = ""
    period: str = ""
    used_words: str = ""
    held: str = ""
    used_percent: float = 0.0
    held_percent: float = 0.0
    tone: str = ""
    warning_title: str = ""
    warning_words: str = ""


@dataclass(frozen=True, slots=True)
class StatView:
    """A number with its word of context."""

    value: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of the ledger."""

    event_id: str
    at: str
    workflow: str
    user: str
    executions: str
    kind: str
    tone: str
    remaining: str
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """A series of a chart: its name, its sum and which of the palette's colours it has."""

    name: str
    total: str
    slot: int


@dataclass(frozen=True, slots=True)
class DayRow:
    """A day's sums."""

    day: str
    used: str
    refunded: str
    net: str
    denied: str


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan in the queue or in the history."""

    plan_id: str
    name: str
    type: str
    state: str
    tone: str
    executions: str
    used: str
    began: str
    ended: str
    note: str


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """The plan in force, in detail."""

    name: str = ""
    type: str = ""
    source: str = ""
    left: str = ""
    used_percent: float = 0.0
    held_percent: float = 0.0
    tone: str = ""
    began: str = ""
    ends: str = ""
    period_words: str = ""
    period_percent: float = 0.0
    has_end: bool = False
