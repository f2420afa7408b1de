"""The fields of a repair's form: what they accept, and how the console shows them."""

from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, get_type_hints

from pydantic import Field

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.staff.access.permissions import MAX_EXECUTIONS

MAX_DAYS: Final = 3_660


class Control(StrEnum):
    """How a field is typed in. A CHANGE is a number and its direction, a LAST_DAY the day before
    the moment that the field keeps."""

    NUMBER = "number"
    CHANGE = "change"
    LAST_DAY = "last_day"
    MOMENT = "moment"
    TEXT = "text"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class Input:
    """A field in the console. `choices` are pairs of value and label; `source` names a list of the
    page to choose from instead. `absent` is shown where the page says the field does not apply."""

    label: str
    control: Control
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    source: str = ""
    absent: str = ""


Executions = Annotated[int, Field(ge=1, le=MAX_EXECUTIONS)]
Name = Annotated[str, Field(max_length=255)]


@dataclass(frozen=True)
class RepairForm:
    """What a repair needs beside its target and the reason. Fields without an `Input` are for the
    API alone; the annotations are the API's schema."""

    def check(self, staff: StaffActor, now: datetime) -> None:
        """Raises InvalidInputError or OverLimitError, before anything is read."""

    def parts(self) -> tuple[object, ...]:
        """The values that make two requests the same."""
        return tuple(stored(getattr(self, each.name)) for each in fields(self))


class NoFields(RepairForm):
    """The reason is enough."""


def inputs_of(form: type[RepairForm]) -> dict[str, Input]:
    """By field, in order."""
    return {
        name: each
        for name, hint in get_type_hints(form, include_extras=True).items()
        for each in getattr(hint, "__metadata__", ())
        if isinstance(each, Input)
    }


def required_of(form: type[RepairForm]) -> set[str]:
    return {each.name for each in fields(form) if each.default is MISSING}


def check_executions(executions: int, *, least: int = 1) -> None:
    """Raises InvalidInputError unless from `least` to MAX_EXECUTIONS."""
    if not least <= executions <= MAX_EXECUTIONS:
        raise InvalidInputError(
            f"Enter {least:,} to {MAX_EXECUTIONS:,} executions.", field="executions"
        )


def check_end(ends_at: datetime | None, now: datetime) -> None:
    """Raises InvalidInputError unless it is within MAX_DAYS from now."""
    if ends_at is not None and not now < ends_at <= now + timedelta(days=MAX_DAYS):
        raise InvalidInputError(
            f"The end date must be within the next {MAX_DAYS:,} days.", field="ends_at"
        )


def stored(value: Any) -> Any:
    """A value as audit entries keep it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value) if isinstance(value, StrEnum) else value


def restored(text: str | None) -> datetime | None:
    """The moment that an audit entry keeps."""
    return datetime.fromisoformat(text) if text is not None else None


def last_day(moment: str) -> str:
    """The last day of what ends at a stored moment: a plan that ends at midnight is valid through
    the day before."""
    last = datetime.fromisoformat(moment) - timedelta(microseconds=1)
    return last.date().isoformat()
