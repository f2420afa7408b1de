"""What the form of a repair asks for: numbers, days and plans in it, checked."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.plans import service as plans
from billing_app.billing.plans.service import CurrentPlan, PlanView
from billing_app.billing.staff.repairs.grants import MAX_DAYS
from billing_app.billing.staff.repairs.refunds import EventRange
from billing_app.billing.subscriptions.proration import ChangePreview
from billing_app.composition import get_services
from billing_app.states import formatting

MAX_PLANS: Final = 100
MAX_DIGITS: Final = 12
INSTANT: Final = timedelta(microseconds=1)

Form = dict[str, str]


@dataclass(slots=True)
class RepairForm:
    """A repair as the form tells it, by whom and when. `agreed` is the charge that the review
    showed: what is said yes to."""

    staff: StaffActor
    account_id: str
    form: Form
    now: datetime
    agreed: ChangePreview | None = None

    @property
    def reason(self) -> str:
        return self.form.get("reason", "")


async def balance_now(asked: RepairForm) -> CurrentPlan:
    """What the account can use."""
    return await plans.read_current(
        get_services().database, asked.staff, asked.account_id, asked.now
    )


async def all_plans(asked: RepairForm) -> list[PlanView]:
    """The newest plans of the account."""
    page = await plans.read_history(
        get_services().database, asked.staff, asked.account_id, now=asked.now, limit=MAX_PLANS
    )
    return page.items


async def chosen_plan(asked: RepairForm) -> PlanView:
    """The one that the form names. Raises InvalidInputError."""
    wanted = asked.form.get("plan", "")
    found = next((plan for plan in await all_plans(asked) if plan.id == wanted), None)
    if found is None:
        raise InvalidInputError("Choose a plan of this account.", field="plan")
    return found


def whole_number(asked: RepairForm, name: str) -> int:
    """A whole number above 0."""
    text = asked.form.get(name, "").strip().replace(",", "").replace(" ", "")
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS or int(text) < 1:
        raise InvalidInputError("Give a whole number above 0.", field=name)
    return int(text)


def optional_number(asked: RepairForm, name: str) -> int:
    """0 when it was left empty."""
    return whole_number(asked, name) if asked.form.get(name, "").strip(" 0") else 0


def adjustment(asked: RepairForm) -> int:
    """More used executions, or fewer."""
    count = whole_number(asked, "executions")
    return -count if asked.form.get("direction") == "fewer" else count


def last_moment(asked: RepairForm) -> datetime | None:
    """The end of a day, which is the last one that counts."""
    text = asked.form.get("ends_on", "").strip()
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
        return datetime.combine(day, time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise InvalidInputError("Give a day as YYYY-MM-DD.", field="ends_on") from None


def coming_end(asked: RepairForm) -> datetime | None:
    """last_moment() of a day that a plan may end on. Raises InvalidInputError."""
    ends_at = last_moment(asked)
    if ends_at is not None and not asked.now < ends_at <= asked.now + timedelta(days=MAX_DAYS):
        raise InvalidInputError(
            f"Give today or a day within the next {formatting.number(MAX_DAYS)} days.",
            field="ends_on",
        )
    return ends_at


def last_day(ends_at: datetime) -> str:
    """The day of the last moment before an end: 24 December 2026"""
    return formatting.day(ends_at - INSTANT)


def event_range(asked: RepairForm) -> EventRange:
    """Runs of a workflow between two moments. Raises InvalidInputError."""
    return EventRange(
        workflow=asked.form.get("workflow", ""),
        since=moment_of(asked, "since"),
        until=moment_of(asked, "until"),
    )


def moment_of(asked: RepairForm, name: str) -> datetime:
    """As the browser's field has it, in UTC. Raises InvalidInputError."""
    try:
        return datetime.fromisoformat(asked.form.get(name, "")).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInputError("Give a first and a last moment.", field=name) from None
