"""The desk where an account is repaired: a form, what it would change, the yes, and undoing."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing import ids
from billing_app.billing.actors import StaffActor
from billing_app.billing.offers import catalogue
from billing_app.billing.plans.service import PlanState, PlanView, read_history
from billing_app.billing.staff.access.browser_sessions import sign_out_person
from billing_app.billing.staff.access.permissions import OwnAccountError, may_repair_own, require
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.subscriptions.proration import ChangePreview
from billing_app.composition import get_services
from billing_app.db.enums import PlanType
from billing_app.states import formatting
from billing_app.states.session import SessionState
from billing_app.states.staff.customer_views import plan_line
from billing_app.states.staff.page import Said
from billing_app.states.staff.repair_actions import REPAIRS
from billing_app.states.staff.repair_form import MAX_PLANS, Form, RepairForm
from billing_app.states.staff.repair_labels import TITLES, WORDS

if TYPE_CHECKING:
    from billing_app.states.staff.page import StaffPage
    from billing_app.states.staff.undo import Undoing

    class Page(Undoing, StaffPage, SessionState): ...
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State

VIEW, SIGN_OUT = "view", "sign_out"
DIALOGS: Final = frozenset({*REPAIRS, VIEW, SIGN_OUT})
HARSH: Final = frozenset({"pause", "block"})
MAX_FIELD_LENGTH: Final = 600
OWN_ACCOUNT: Final = "This account is your own: the audit log says so beside this entry."


class RepairDesk(Page, mixin=True):
    """One repair at a time. `consequence` stands there when the form was understood: then a yes
    carries it out, once, however often it is pressed. `given` is what stands in the form's fields
    first: what was reviewed, when somebody comes back from it."""

    dialog: rx.Field[str] = rx.field("")
    title: rx.Field[str] = rx.field("")
    explanation: rx.Field[str] = rx.field("")
    is_repair: rx.Field[bool] = rx.field(False)
    is_harsh: rx.Field[bool] = rx.field(False)
    target: rx.Field[str] = rx.field("")
    target_name: rx.Field[str] = rx.field("")
    given: rx.Field[dict[str, str]] = rx.field(default_factory=dict)
    consequence: rx.Field[list[str]] = rx.field(default_factory=list)
    workflows: rx.Field[list[str]] = rx.field(default_factory=list)
    offers: rx.Field[list[tuple[str, str]]] = rx.field(default_factory=list)
    plan_choices: rx.Field[list[tuple[str, str]]] = rx.field(default_factory=list)
    trial_has_end: rx.Field[bool] = rx.field(True)
    _customer_id: str = ""
    _is_own: bool = False
    _offer: tuple[str, int] | None = None
    _form: Form = {}
    _key: str = ""
    _agreed: ChangePreview | None = None

    @rx.event
    async def ask(self, dialog: str, target: str, target_name: str) -> None:
        """Open a dialog, about a plan, an event or a person when it is about one."""
        self._put_away()
        self._show(said=Said())
        if dialog in DIALOGS:
            self._show(
                dialog=dialog,
                title=TITLES.get(dialog, ""),
                explanation=WORDS.get(dialog, ""),
                is_repair=dialog in REPAIRS,
                is_harsh=dialog in HARSH,
                target=target[:255],
                target_name=target_name[:255],
                given={"event": target[:255]} if dialog == "refund" else {},
            )
        if dialog == "adjust":
            await self._choose_plans()
        if dialog == "extend_trial":
            trials = [plan for plan in await self._plans() if plan.type is PlanType.TRIAL]
            self._show(trial_has_end=not trials or trials[0].ends_at is not None)
        if dialog == "move":
            await self._choose_offers()

    @rx.event
    def close(self) -> None:
        """Nothing is done."""
        self._put_away()
        self._show(said=Said())

    @rx.event
    def back(self) -> None:
        """To the form again."""
        self._show(consequence=[], said=Said())

    @rx.event
    async def review(self, form: dict[str, Any]) -> None:
        """Say what the repair would change."""
        repair = REPAIRS.get(self.dialog)
        if repair is None:
            return
        told = {str(name): str(value)[:MAX_FIELD_LENGTH] for name, value in form.items()}
        account_id, is_own = self._customer_id, self._is_own

        async def work(staff: StaffActor, now: datetime) -> list[str]:
            require(staff, repair.action)
            if is_own and not may_repair_own(staff.role):
                raise OwnAccountError
            asked = RepairForm(staff, account_id, told, now)
            consequence = await repair.foresee(asked)
            self._agreed = asked.agreed
            return consequence

        self._show(said=Said())
        consequence = await self._ask(work)
        if consequence is not None:
            self._form, self._key = told, ids.new_id("ui_")
            told_all = [*consequence, OWN_ACCOUNT] if is_own else consequence
            self._show(consequence=told_all, given=told)

    @rx.event
    async def carry_out(self) -> EventSpec | None:
        """Do what was reviewed."""
        repair, form, key = REPAIRS.get(self.dialog), self._form, self._key
        if repair is None or not key:
            return None
        account_id, agreed = self._customer_id, self._agreed

        async def work(staff: StaffActor, now: datetime) -> EntryView:
            return await repair.carry_out(RepairForm(staff, account_id, form, now, agreed), key)

        self._show(said=Said())
        entry = await self._ask(work)
        if entry is None:
            return None
        outcome = repair.outcome(entry) if repair.outcome else ""
        self._put_away()
        return await self._tell(entry, outcome)

    @rx.event
    async def sign_out(self, form: dict[str, Any]) -> EventSpec | None:
        """End every session of the person that was chosen."""
        account_id, user_id = self._customer_id, self.target

        async def work(staff: StaffActor, now: datetime) -> int:
            return await sign_out_person(
                get_services().database,
                staff,
                account_id,
                user_id=user_id,
                reason=str(form.get("reason", "")),
                now=now,
            )

        ended = await self._ask(work)
        if ended is None:
            return None
        self._put_away()
        self._show(said=Said(f"{formatting.counted(ended, 'session')} ended."))
        return await self._refresh()

    async def _choose_plans(self) -> None:
        """The plan in use stands there first."""
        plans = await self._plans()
        used = next((plan for plan in plans if plan.state is PlanState.CURRENT), None)
        self._show(
            given={"plan": used.id} if used else {},
            plan_choices=[
                (
                    plan.plan_id,
                    f"{plan.name}: {plan.used} of {plan.executions} used, {plan.state}",
                )
                for plan in map(plan_line, plans)
            ],
        )

    async def _choose_offers(self) -> None:
        """The newest versions, without the one that they have."""
        found = await catalogue.list_offers(get_services().database)
        self._show(
            offers=[
                (offer.code, f"{offer.name}, {formatting.number(offer.executions)} executions")
                for offer in found
                if offer.is_subscription and (offer.code, offer.version) != self._offer
            ]
        )

    async def _plans(self) -> list[PlanView]:
        """The newest plans of the account; none, and it is said why, when they can't be read."""
        account_id = self._customer_id

        async def work(staff: StaffActor, now: datetime) -> list[PlanView]:
            database = get_services().database
            page = await read_history(database, staff, account_id, now=now, limit=MAX_PLANS)
            return page.items

        return await self._ask(work) or []

    def _put_away(self) -> None:
        self._form, self._key, self._agreed = {}, "", None
        self._show(dialog="", is_repair=False, target="", target_name="", given={}, consequence=[])
