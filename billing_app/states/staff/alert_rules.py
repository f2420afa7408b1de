"""The default rules of alerts, by offer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.actors import StaffActor
from billing_app.billing.alerts.rules import Rule
from billing_app.billing.errors import BillingError
from billing_app.billing.offers import catalogue
from billing_app.billing.staff.catalogue import alert_defaults
from billing_app.composition import get_services
from billing_app.states.alert_rules import Rules, RulesPage
from billing_app.states.session import SessionState
from billing_app.states.staff.page import StaffPage
from billing_app.states.views import Message

EVERY_OFFER: Final = ""


class StaffAlertRulesState(RulesPage, StaffPage, SessionState):
    """The defaults of the chosen offer, or of every other."""

    offer_codes: rx.Field[list[str]] = rx.field(default_factory=list)
    offer_code: rx.Field[str] = rx.field(EVERY_OFFER)
    has_rules: rx.Field[bool] = rx.field(False)

    @rx.event
    async def choose_offer(self, code: str) -> EventSpec | None:
        """Show the defaults of an offer; EVERY_OFFER: of all without their own."""
        self._show(offer_code=code if code in self.offer_codes else EVERY_OFFER)
        return await self._refresh()

    async def _read_again(self) -> EventSpec | None:
        return await self._refresh()

    def _rule_problem(self, error: BillingError) -> Message:
        return Message("bad", error.detail)

    async def _load_rules(self) -> Rules | None:
        staff, _ = await self._staff()
        return None if staff is None else (await self._defaults(staff))[0]

    async def _save_rules(self, rules: Sequence[Rule] | None, reason: str, now: datetime) -> None:
        staff, _ = await self._staff()
        if staff is not None:
            database, code = get_services().database, self.offer_code or None
            await alert_defaults.set_default_rules(database, staff, code, rules, reason, now)

    async def _defaults(self, staff: StaffActor) -> tuple[Rules, bool]:
        """Those that apply to the offer, and whether they are its own."""
        views = await alert_defaults.list_default_rules(get_services().database, staff)
        by_offer = {view.offer or EVERY_OFFER: view.rules for view in views}
        own = by_offer.get(self.offer_code)
        return (by_offer.get(EVERY_OFFER, ()), False) if own is None else (own, True)

    async def _read(self, staff: StaffActor) -> None:
        offers = await catalogue.list_offers(get_services().database)
        rules, is_own = await self._defaults(staff)
        self._show_rules(rules)
        self._show(offer_codes=sorted(offer.code for offer in offers), has_rules=is_own)
