"""What forged events are about: the accounts that repair_cases.py expects, in a running app."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from billing_app.billing.staff.repairs.fields import Control, inputs_of, last_day, stored
from billing_app.billing.staff.repairs.refunds import Range
from billing_app.billing.staff.repairs.repair import Repair
from billing_app.states.staff.repair_form import DIRECTION, read_form
from tests.factories import Holder, membership, organization, person, trial
from tests.pages import staff_scenes as scenes
from tests.pages.conftest import RunningApp
from tests.pages.staff_scenes import Somebody
from tests.staff.permission_scene import WORKFLOW

SPARE: Final = 50
MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class HeldAccount:
    holder: Holder

    @property
    def id(self) -> str:
        return self.holder.account_id

    def plan_id(self, sequence: int = 1) -> str:
        return scenes.plan_id(self.holder, sequence)


@dataclass(frozen=True)
class ForgeryScene:
    """Who forges, and whether what it is done to is their own.

    A RepairScene too; each of its accounts is made when it is first asked for.
    """

    app: RunningApp
    who: Somebody
    is_own: bool
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def holder(self, *executions: int) -> Holder:
        """An organization, of the forger or of others; by default with one plan of SPARE."""
        made = organization(self.app.database_url, *(executions or (SPARE,)))
        if self.is_own:
            membership(self.app.database_url, made.organization_id, self.who.user_id, "owner")
        return made

    @property
    def customer(self) -> HeldAccount:
        return self._customer_and_event[0]

    @property
    def event_id(self) -> str:
        return self._customer_and_event[1]

    @property
    def blocked(self) -> HeldAccount:
        return self._blocked

    @property
    def trial(self) -> HeldAccount:
        return self._trial

    @property
    def newcomer(self) -> str:
        return self._newcomer

    @property
    def range(self) -> Range:
        return Range(WORKFLOW, self.now - MINUTE, self.now + MINUTE)

    @cached_property
    def _blocked(self) -> HeldAccount:
        holder = self.holder()
        query = "UPDATE accounts SET blocked_at = now() WHERE id = %s"
        scenes.run(self.app, query, holder.account_number)
        return HeldAccount(holder)

    @cached_property
    def _newcomer(self) -> str:
        return person(self.app.database_url).email

    @cached_property
    def _trial(self) -> HeldAccount:
        url = self.app.database_url
        user_id = self.who.user_id if self.is_own else person(url).user_id
        return HeldAccount(trial(url, user_id, SPARE))

    @cached_property
    def _customer_and_event(self) -> tuple[HeldAccount, str]:
        holder = self.holder(SPARE, SPARE)
        query = "UPDATE plans SET paused_at = now() WHERE account_id = %s AND sequence = 2"
        scenes.run(self.app, query, holder.account_number)
        return HeldAccount(holder), scenes.use(self.app, holder, 7, WORKFLOW)


def typed(repair: Repair[Any], values: dict[str, Any]) -> dict[str, str]:
    """The values as the form of the console sends them, which the page can read."""
    form: dict[str, str] = {}
    for name, each in inputs_of(repair.form).items():
        if name in values:
            form |= _typed(name, each.control, values[name])
    read_form(repair.form, form)
    return form


def _typed(name: str, control: Control, value: Any) -> dict[str, str]:
    match control:
        case Control.CHANGE:
            return {name: str(abs(value)), DIRECTION: "fewer" if value < 0 else "more"}
        case Control.LAST_DAY:
            return {name: last_day(stored(value))}
        case Control.MOMENT:
            return {name: value.astimezone(UTC).replace(tzinfo=None).isoformat()}
        case Control.NUMBER | Control.TEXT | Control.CHOICE:
            return {name: str(value)}
