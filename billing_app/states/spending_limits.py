"""Setting the spending limit and the automatic top-up."""

from typing import Any, Final

import reflex as rx

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.offers import catalogue
from billing_app.billing.overage.limits import set_overage_limit
from billing_app.billing.plans.service import read_current
from billing_app.billing.typed_numbers import minor_units, typed_amount, typed_count
from billing_app.composition import get_services
from billing_app.states import formatting
from billing_app.states.actions import YES, Action, ActionMixin
from billing_app.states.session import SessionState
from billing_app.states.views import Message

LIMIT: Final = "limit"
TOP_UP: Final = "top_up"
KINDS: Final = (LIMIT, TOP_UP)
MAX_DIGITS: Final = 10
MAX_CURRENCY_LENGTH: Final = 3
TOP_UP_IS_ON: Final = "Automatic top-up is on"
CONFIRM_LABELS: Final = {
    LIMIT: ("Save a limit of {}", "Set limit"),
    TOP_UP: ("Allow up to {} a month", "Turn on"),
}


class SpendingLimitState(ActionMixin, SessionState):
    """The dialogs of both. Whether the viewer may set them is decided by the service.

    `confirm_label` repeats the amount as it was read: only that amount is saved.
    """

    kind: rx.Field[str] = rx.field("")
    confirm_label: rx.Field[str] = rx.field("")
    _currency: str = ""

    @rx.event
    def ask(self, kind: str, typed: str, currency: str) -> None:
        """Open the dialog for the limit or for the top-up, with the amount it starts from."""
        if kind in KINDS and not self.pending:
            of_account = self.account.account_id
            self._currency = currency[:MAX_CURRENCY_LENGTH]
            self._show(
                kind=kind, is_open=True, of_account=of_account, problem=Message(), done=Message()
            )
            self._repeat(typed)

    @rx.event
    def type_amount(self, typed: str) -> None:
        """Repeat the amount in the button while typing."""
        self._repeat(typed)

    @rx.event(background=True)
    async def set_limit(self, form: dict[str, Any]) -> None:
        """Set the limit as typed; empty removes it."""
        action = await self._start_action(YES)
        if action is not None:
            await self._try(self._set_limit, action, str(form.get("limit", "")))

    @rx.event(background=True)
    async def switch_on(self, form: dict[str, Any]) -> None:
        """Turn the top-up on as typed."""
        action = await self._start_action(YES)
        if action is not None:
            await self._try(self._switch_on, action, form)

    @rx.event(background=True)
    async def switch_off(self) -> None:
        """Stop buying automatically."""
        action = await self._start_action(TOP_UP)
        if action is not None:
            await self._try(self._switch_off, action)

    def _repeat(self, typed: str) -> None:
        if self.kind in KINDS:
            self._show(confirm_label=confirm_label(self.kind, typed, self._currency))

    async def _require_repeated(self, kind: str, typed: str, currency: str) -> None:
        """Raises InvalidInputError unless the button named this amount."""
        label = confirm_label(kind, typed, currency)
        if self.confirm_label == label:
            return
        async with self:
            self._currency = currency
            self._show(confirm_label=label)
        raise InvalidInputError("Check the amount in the button, then confirm it.", field="amount")

    def _show_problem(self, message: Message) -> None:
        """In the dialog if one is open, else on the page."""
        self._show(**{"problem" if self.is_open else "done": message})

    async def _set_limit(self, action: Action, typed: str) -> None:
        database = get_services().database
        current = await read_current(database, action.actor, action.account_id, action.now)
        if current.overage is None:
            raise InvalidInputError(
                "Your plan stops when its executions are used up.", field="limit"
            )
        currency = current.overage.currency
        limit_minor = typed_amount(typed, currency, field="limit") if typed.strip() else None
        await self._require_repeated(LIMIT, typed, currency)
        await set_overage_limit(
            database,
            action.actor,
            action.account_id,
            limit_minor=limit_minor,
            currency=currency,
            now=action.now,
        )
        await self._finish(Message("good", "Spending limit set", "It applies immediately."))

    async def _switch_on(self, action: Action, form: dict[str, Any]) -> None:
        services, code = get_services(), str(form.get("offer", ""))
        offers = await catalogue.list_offers(services.database)
        currency = next((offer.currency for offer in offers if offer.code == code), "USD")
        cap = str(form.get("cap", ""))
        cap_minor = typed_amount(cap, currency, field="cap")
        await self._require_repeated(TOP_UP, cap, currency)
        await services.top_ups.switch_on(
            action.actor,
            action.account_id,
            offer_code=code,
            threshold_executions=_count(str(form.get("threshold", ""))),
            monthly_cap_minor=cap_minor,
            currency=currency,
            now=action.now,
        )
        await self._finish(Message("good", TOP_UP_IS_ON, "You can turn it off at any time."))

    async def _switch_off(self, action: Action) -> None:
        await get_services().top_ups.switch_off(action.actor, action.account_id)
        title = "Automatic top-up is off"
        await self._finish(Message("good", title, "Nothing more is bought automatically."))


def confirm_label(kind: str, typed: str, currency: str) -> str:
    """What the button does, with the amount as it was read; without one, what the dialog does."""
    with_amount, without = CONFIRM_LABELS[kind]
    amount_minor = minor_units(typed, currency)
    if amount_minor is not None:
        return with_amount.format(formatting.money(amount_minor, currency))
    return "Use the plan's limit" if kind == LIMIT and not typed.strip() else without


def _count(typed: str) -> int:
    count = typed_count(typed, max_digits=MAX_DIGITS)
    if count is None:
        raise InvalidInputError("Enter a number of executions, for example 500.", field="threshold")
    return count
