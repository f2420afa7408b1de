"""What staff say of a refund of executions, and what its preview tells."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import (
    InvalidInputError,
)
from billing_app.billing.executions.state import EPOCH, MICROSECOND
from billing_app.billing.staff.repairs.fields import (
    Control,
    Executions,
    Input,
    Name,
    RepairForm,
    check_executions,
    stored,
)
from billing_app.billing.staff.repairs.repair import (
    Figures,
)

MAX_EVENTS: Final = 1_000


@dataclass(frozen=True)
class RefundOne(RepairForm):
    """`executions`: at most what the event used; null: all that is left of it."""

    executions: Annotated[
        Executions | None,
        Input("Executions", Control.NUMBER, "Leave empty to refund all that is left"),
    ] = None

    def check(self, staff: StaffActor, now: datetime) -> None:
        if self.executions is not None:
            check_executions(self.executions)


@dataclass(frozen=True)
class Range(RepairForm):
    """Events of a workflow ("" for those without one), from `since` and before `until`, which is
    later."""

    workflow: Annotated[Name, Input("Workflow", Control.CHOICE, source="workflows")]
    since: Annotated[datetime, Input("From (UTC)", Control.MOMENT)]
    until: Annotated[datetime, Input("Before (UTC)", Control.MOMENT)]
    user_id: Annotated[str | None, Field(max_length=255)] = None

    def __post_init__(self) -> None:
        if self.since >= self.until:
            raise InvalidInputError("The start must be before the end.", field="since")
        if not self.since >= EPOCH or self.until.year > 9000:
            raise InvalidInputError("The time is out of range.", field="since")

    def as_json(self) -> Figures:
        return {
            "workflow": self.workflow,
            "user_id": self.user_id,
            "from": stored(self.since),
            "to": stored(self.until),
        }

    def parts(self) -> tuple[object, ...]:
        return tuple(self.as_json().items())

    def values(self) -> tuple[int, int, str, str | None]:
        """Since and until as event numbers, which are microseconds since 1970."""
        since, until = ((at - EPOCH) // MICROSECOND for at in (self.since, self.until))
        return since, until, self.workflow, self.user_id


@dataclass(frozen=True, slots=True)
class RefundPreview:
    """`count` of the event's `executions` are given back, `executions_usable` of them to plans that
    have not ended; `refunded` were before."""

    workflow: str | None
    occurred_at: datetime
    executions: int
    refunded: int
    count: int
    executions_usable: int


@dataclass(frozen=True, slots=True)
class RangeView:
    """What a range holds: `events` with `executions` can be given back; those that were refunded
    whole are skipped. `executions_refunded_partly` are of the events that are not. The customer can
    use `executions_usable` again: the plans of the others have ended."""

    events: int
    executions: int
    events_refunded: int
    executions_refunded: int
    executions_refunded_partly: int
    executions_usable: int
    max_events: int = MAX_EVENTS


@dataclass(frozen=True, slots=True)
class RangePreview:
    range: RangeView
    executions_remaining: int
