"""The dialogs of an account's page: repairs with form, review and confirmation; signing out."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing import ids
from billing_app.billing.actors import StaffActor
from billing_app.billing.offers import catalogue
from billing_app.billing.plans.service import PlanState, PlanView, read_history
from billing_app.billing.staff.access.browser_sessions import sign_out_person
from billing_app.billing.staff.access.portal_sessions import end_portal_sessions
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.customers.account import SubscriptionRow, list_subscriptions
from billing_app.billing.staff.repairs import service
from billing_app.billing.staff.repairs.moves import MOVE_OFFER
from billing_app.billing.staff.repairs.plan_rows import MAX_PLANS
from billing_app.billing.staff.repairs.registry import BY_NAME
from billing_app.billing.staff.repairs.repair import Repair
from billing_app.billing.staff.repairs.trusted_invoices import list_trustable
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderUnavailableError,
)
from billing_app.composition import get_services
from billing_app.db.enums import PlanType
from billing_app.states import formatting
from billing_app.states.session import SessionState
from billing_app.states.staff.customer_views import plan_line, subscription_line
from billing_app.states.staff.page import Notice
from billing_app.states.staff.repair_form import read_form, target_of
from billing_app.states.staff.review_lines import review_lines, reviewed, skipped_events_of
from billing_app.states.views import FilterOption

if TYPE_CHECKING:
    from billing_app.states.staff.page import StaffPage
    from billing_app.states.staff.undo import UndoMixin

    class Page(UndoMixin, StaffPage, SessionState): ...
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State

VIEW, SIGN_OUT, END_PORTAL = "view", "sign_out", "end_portal"
MAX_FIELD_LENGTH: Final = 600
NO_ANSWER: Final = (
    "Stripe is not responding, so the charge can't be calculated. Nothing was changed."
    " Review again later."
)
OWN_ACCOUNT: Final = "This is your own account. The audit log will flag this entry."
BLOCKED: Final = "The account is blocked: nothing can be used until someone unblocks it."


class RepairMixin(Page, mixin=True):
    """One repair at a time. Once its form is reviewed, `consequence` says what it would change;
    confirming carries it out once, however often it is clicked. `given` is what the form's fields
    start with: what was reviewed, when somebody goes back. `absent` fields do not apply."""

    dialog: rx.Field[str] = rx.field("")
    title: rx.Field[str] = rx.field("")
    explanation: rx.Field[str] = rx.field("")
    is_repair: rx.Field[bool] = rx.field(False)
    is_harsh: rx.Field[bool] = rx.field(False)
    target: rx.Field[str] = rx.field("")
    target_name: rx.Field[str] = rx.field("")
    given: rx.Field[dict[str, str]] = rx.field(default_factory=dict)
    absent: rx.Field[list[str]] = rx.field(default_factory=list)
    consequence: rx.Field[list[str]] = rx.field(default_factory=list)
    workflows: rx.Field[list[FilterOption]] = rx.field(default_factory=list)
    offers: rx.Field[list[tuple[str, str]]] = rx.field(default_factory=list)
    plan_choices: rx.Field[list[tuple[str, str]]] = rx.field(default_factory=list)
    subscription_choices: rx.Field[list[tuple[str, str]]] = rx.field(default_factory=list)
    invoice_choices: rx.Field[list[tuple[str, str]]] = rx.field(default_factory=list)
    _customer_id: str = ""
    _customer: str = ""
    _is_own: bool = False
    _is_cancelled: bool = False
    _offer: tuple[str, int] | None = None
    _form: dict[str, str] = {}
    _key: str = ""
    _agreed: Any = None

    @rx.event
    async def ask(self, dialog: str, target: str, target_name: str) -> None:
        """Open a dialog, about a plan, an event or a person when it is about one."""
        self._put_away()
        self._show(notice=Notice())
        target, repair = target[:255], BY_NAME.get(dialog)
        if repair is not None or dialog in {VIEW, SIGN_OUT, END_PORTAL}:
            self._show(dialog=dialog, target=target, target_name=target_name[:255])
        if repair is not None:
            self._show(
                title=repair.title,
                explanation=repair.explanation,
                is_repair=True,
                is_harsh=repair.is_harsh,
                given={repair.target.noun: target} if target else {},
            )
            await self._offer_choices(repair)

    @rx.event
    def close(self) -> None:
        """Close the dialog without doing anything."""
        if self.dialog:
            self._put_away()
            self._show(notice=Notice())

    @rx.event
    def back(self) -> None:
        """Back to the form."""
        self._show(consequence=[], notice=Notice())

    @rx.event
    async def review(self, form: dict[str, Any]) -> None:
        """Show what the repair would change."""
        repair = BY_NAME.get(self.dialog)
        if repair is None:
            return
        values = {str(name): str(value)[:MAX_FIELD_LENGTH] for name, value in form.items()}
        account_id, is_own = self._customer_id, self._is_own

        async def work(staff: StaffActor, now: datetime) -> Any:
            target_id, form = target_of(repair, account_id, values), read_form(repair.form, values)
            services = get_services().repairs
            try:
                preview = await service.review(
                    services,
                    staff,
                    repair,
                    target_id,
                    form,
                    account_id=account_id,
                    now=now,
                    reason=values.get("reason", ""),
                )
            except PaymentProviderUnavailableError:
                raise PaymentProviderUnavailableError(NO_ANSWER) from None
            return preview, await service.is_blocked(services, staff, account_id)

        self._show(notice=Notice())
        asked = await self._ask(work)
        if asked is not None:
            preview, is_blocked = asked
            self._form, self._key, self._agreed = values, ids.new_id("ui_"), preview
            blocked = [BLOCKED] if is_blocked and repair.gives else []
            own = [OWN_ACCOUNT] if is_own else []
            told = reviewed(review_lines(preview), self._customer, values.get("reason", ""))
            self._show(consequence=[*told, *blocked, *own], given=values)

    @rx.event
    async def carry_out(self) -> EventSpec | None:
        """Do what was reviewed."""
        repair, values, key = BY_NAME.get(self.dialog), self._form, self._key
        if repair is None or not key:
            return None
        account_id, agreed = self._customer_id, self._agreed

        async def work(staff: StaffActor, now: datetime) -> EntryView:
            return await service.carry_out(
                get_services().repairs,
                staff,
                repair,
                target_of(repair, account_id, values),
                read_form(repair.form, values),
                reason=values.get("reason", ""),
                now=now,
                key=key,
                agreed=agreed,
            )

        self._show(notice=Notice())
        entry = await self._ask(work)
        if entry is None:
            return None
        self._put_away()
        return await self._tell(entry, skipped_events_of(entry))

    @rx.event
    async def sign_out(self, form: dict[str, Any]) -> EventSpec | None:
        """End every session of the chosen person, or those that portal links opened."""
        if self.dialog not in {SIGN_OUT, END_PORTAL}:
            return None
        is_portal, account_id, person_id = self.dialog == END_PORTAL, self._customer_id, self.target
        reason = str(form.get("reason", ""))

        async def work(staff: StaffActor, now: datetime) -> int:
            of_account = (get_services().database, staff, account_id)
            if is_portal:
                return await end_portal_sessions(
                    *of_account, person_id=person_id, reason=reason, now=now
                )
            return await sign_out_person(*of_account, user_id=person_id, reason=reason, now=now)

        ended = await self._ask(work)
        if ended is None:
            return None
        self._put_away()
        self._show(notice=Notice(f"{formatting.counted(ended, 'session')} ended."))
        return await self._refresh()

    async def _offer_choices(self, repair: Repair[Any]) -> None:
        """Read the lists that its fields choose from, and which fields do not apply."""
        sources = {each.source for each in repair.inputs.values()}
        if "plans" in sources:
            await self._choose_plans()
        if "offers" in sources:
            await self._choose_offers()
        if "subscriptions" in sources:
            await self._choose_subscriptions()
        if "invoices" in sources:
            await self._choose_invoices()
        conditional = [name for name, each in repair.inputs.items() if each.absent]
        if repair is MOVE_OFFER:
            self._show(absent=[] if self._is_cancelled else conditional)
        elif conditional:
            trials = [plan for plan in await self._plans() if plan.type is PlanType.TRIAL]
            has_end = not trials or trials[0].ends_at is not None
            self._show(absent=[] if has_end else conditional)

    async def _choose_plans(self) -> None:
        """The plan in use is chosen first."""
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
        """The newest versions, except the current one."""
        found = await catalogue.list_offers(get_services().database)
        self._show(
            offers=[
                (offer.code, f"{offer.name}, {formatting.number(offer.executions)} executions")
                for offer in found
                if offer.is_subscription and (offer.code, offer.version) != self._offer
            ]
        )

    async def _choose_subscriptions(self) -> None:
        """The live ones, a second one by name."""
        account_id = self._customer_id

        async def work(staff: StaffActor, _: datetime) -> list[SubscriptionRow]:
            services = get_services()
            return await list_subscriptions(services.database, services.links, staff, account_id)

        rows = [row for row in await self._ask(work) or [] if row.ended_at is None]
        self._show(subscription_choices=[(row.provider_id, _named(row)) for row in rows])

    async def _choose_invoices(self) -> None:
        """Those that can be trusted."""
        account_id = self._customer_id

        async def work(staff: StaffActor, _: datetime) -> list[tuple[str, str]]:
            rows = await list_trustable(get_services().database, staff, account_id)
            return [
                (
                    row.provider_id,
                    f"{row.number}: {formatting.money(row.amount_due_minor, row.currency)}",
                )
                for row in rows
            ]

        self._show(invoice_choices=await self._ask(work) or [])

    async def _plans(self) -> list[PlanView]:
        """The newest plans of the account; none when they cannot be read, and the page says why."""
        account_id = self._customer_id

        async def work(staff: StaffActor, now: datetime) -> list[PlanView]:
            database = get_services().database
            page = await read_history(database, staff, account_id, now=now, limit=MAX_PLANS)
            return page.items

        return await self._ask(work) or []

    def _put_away(self) -> None:
        self._form, self._key, self._agreed = {}, "", None
        self._show(
            dialog="",
            is_repair=False,
            target="",
            target_name="",
            given={},
            absent=[],
            consequence=[],
        )


def _named(row: SubscriptionRow) -> str:
    """Starter, version 1: Active, 30 Nov - 30 Dec, second one"""
    line = subscription_line(row)
    return f"{line.offer}: {line.status}, {line.period}{', second one' if row.is_duplicate else ''}"
