"""Rules of alerts: what customers' pages and the console share, and those of an account."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import reflex as rx
import structlog
from reflex.event import EventSpec

from billing_app.billing.alerts.rules import Rule
from billing_app.billing.errors import BillingError, InvalidInputError
from billing_app.db.enums import AlertKind
from billing_app.states.alert_views import (
    KIND_NAMES,
    RuleForm,
    RuleItem,
    rule_form,
    rule_items,
    typed_rule,
)
from billing_app.states.error_messages import problem, unexpected_problem
from billing_app.states.session import SessionState
from billing_app.states.views import Message

USUAL_CURRENCY: Final = "USD"
APPLIES: Final = "It applies within seconds."

RULE, REMOVE, DEFAULTS = "rule", "remove", "defaults"

Rules = tuple[Rule, ...]
log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    Page = SessionState
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State


class RulesPage(Page, mixin=True):
    """A page's state inherits from this, and reads and writes the rules in `_load_rules` and
    `_save_rules`, which authorize.

    A change is made to the rules as they are when it is saved, not as they were shown.
    """

    rules: rx.Field[list[RuleItem]] = rx.field(default_factory=list)
    form: rx.Field[RuleForm] = rx.field(default_factory=RuleForm)
    dialog: rx.Field[str] = rx.field("")
    rule_problem: rx.Field[Message] = rx.field(default_factory=Message)
    rule_done: rx.Field[Message] = rx.field(default_factory=Message)
    _currency: str = USUAL_CURRENCY

    async def _load_rules(self) -> Rules | None:
        """None: nobody is signed in. Raises what the services raise."""
        raise NotImplementedError

    async def _save_rules(self, rules: Sequence[Rule] | None, reason: str, now: datetime) -> None:
        """None: the defaults again. `reason`: of staff. Raises what the services raise."""
        raise NotImplementedError

    async def _read_again(self) -> EventSpec | None:
        raise NotImplementedError

    def _rule_problem(self, error: BillingError) -> Message:
        return problem(error, charges=False)

    @rx.event
    async def ask_rule(self, dialog: str, key: str) -> None:
        """Open a dialog for a rule, for a new one, or for the defaults."""

        async def work() -> None:
            rules = await self._load_rules()
            if rules is None or dialog not in (RULE, REMOVE, DEFAULTS):
                return
            rule = next((each for each in rules if each.key == key), None)
            kind = rule.kind if rule else AlertKind.REMAINING_SHARE
            self._show(form=rule_form(kind, self._currency, rule), dialog=dialog)

        await self._try_rules(work)

    @rx.event
    def choose_kind(self, kind: str) -> None:
        """The fields follow the kind."""
        if kind in set(AlertKind):
            form = rule_form(AlertKind(kind), self._currency)
            self._show(form=form, rule_problem=Message())

    @rx.event
    def close_rule(self) -> None:
        """Close the dialog without saving."""
        self._show(dialog="", rule_problem=Message())

    @rx.event
    def hide_rule_result(self) -> None:
        """Hide what came of the last change."""
        self._show(rule_done=Message())

    @rx.event
    async def save_rule(self, form: dict[str, Any]) -> EventSpec | None:
        """Save the rule of the dialog."""
        key, kind = self.form.key, self.form.kind
        if self.dialog != RULE or kind not in set(AlertKind):
            return None
        value, currency = str(form.get("value", "")), str(form.get("currency", ""))

        def change(rules: Rules) -> Rules:
            rule = typed_rule(AlertKind(kind), value, currency)
            others = tuple(each for each in rules if each.key not in (key, rule.key))
            return (*others, rule)

        return await self._change_rules(change, form, "Alert saved")

    @rx.event
    async def remove_rule(self, form: dict[str, Any]) -> EventSpec | None:
        """Switch off the rule of the dialog."""
        if self.dialog != REMOVE:
            return None
        key = self.form.key

        def change(rules: Rules) -> Rules:
            return tuple(each for each in rules if each.key != key)

        return await self._change_rules(change, form, "Alert switched off")

    @rx.event
    async def use_defaults(self, form: dict[str, Any]) -> EventSpec | None:
        """Drop own rules."""
        if self.dialog != DEFAULTS:
            return None
        return await self._change_rules(lambda _: None, form, "The defaults apply again")

    async def _change_rules(
        self, change: Callable[[Rules], Rules | None], form: dict[str, Any], done: str
    ) -> EventSpec | None:
        reason = str(form.get("reason", ""))

        async def work() -> None:
            rules = await self._load_rules()
            if rules is not None:
                await self._save_rules(change(rules), reason, datetime.now(UTC))
                self._show(dialog="", rule_done=Message("good", done, APPLIES))

        await self._try_rules(work)
        return await self._read_again()

    async def _try_rules(self, work: Callable[[], Awaitable[None]]) -> None:
        """Show what went wrong in the dialog if it is open, else on the page."""
        self._show(rule_problem=Message(), rule_done=Message())
        message = Message()
        try:
            await work()
        except InvalidInputError as error:
            message = Message("bad", error.detail)
        except BillingError as error:
            message = self._rule_problem(error)
        except Exception:
            log.exception("alert_rules_failed", page=type(self).__name__)
            message = unexpected_problem(charges=False)
        if message.title:
            self._show(**{"rule_problem" if self.dialog else "rule_done": message})

    def _show_rules(self, rules: Rules) -> None:
        self._show(rules=rule_items(rules))


KIND_CHOICES: Final = [(kind.value, name) for kind, name in KIND_NAMES.items()]
