"""The page of an account's alerts: what was raised, the rules, and the viewer's own mail."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.actors import PersonActor, UserActor
from billing_app.billing.alerts import preferences, rule_settings
from billing_app.billing.alerts import service as alerts
from billing_app.billing.alerts.rules import Rule
from billing_app.billing.plans.service import read_current
from billing_app.composition import get_services
from billing_app.states.alert_rules import USUAL_CURRENCY, Rules, RulesPage
from billing_app.states.alert_views import (
    KIND_NAMES,
    TOPIC_NAMES,
    AlertItem,
    MailChoice,
    alert_item,
)
from billing_app.states.bell import BellState
from billing_app.states.change_polling import LivePage
from billing_app.states.session import SessionState
from billing_app.states.views import AccountChoice

ROWS: Final = 10
ALL_MAIL: Final = "all"
MAIL_NAMES: Final = {**KIND_NAMES, **TOPIC_NAMES}


class AlertsState(RulesPage, LivePage, SessionState):
    """Members see alerts and rules; who may manage changes rules; mail is each person's own."""

    raised: rx.Field[list[AlertItem]] = rx.field(default_factory=list)
    page_number: rx.Field[int] = rx.field(1)
    has_older: rx.Field[bool] = rx.field(False)
    is_own: rx.Field[bool] = rx.field(False)
    wants_mail: rx.Field[bool] = rx.field(False)
    has_mail: rx.Field[bool] = rx.field(False)
    mail_choices: rx.Field[list[MailChoice]] = rx.field(default_factory=list)
    _of_account: str = ""
    _cursors: tuple[str, ...] = ()
    _next_cursor: str | None = None

    @rx.event
    def begin(self) -> None:
        """The page was opened."""
        self._cursors = ()
        self._show()

    @rx.event
    async def show_older(self) -> EventSpec | None:
        """The next page of alerts."""
        if self._next_cursor is None:
            return None
        self._cursors = (*self._cursors, self._next_cursor)
        return await self._refresh()

    @rx.event
    async def show_newer(self) -> EventSpec | None:
        """The page before."""
        self._cursors = self._cursors[:-1]
        return await self._refresh()

    @rx.event
    async def choose_mail(self, kind: str, is_on: bool) -> EventSpec | None:
        """Be mailed about something, or not; ALL_MAIL: about anything that is not required."""

        async def work() -> None:
            actor = await self._actor()
            if not isinstance(actor, UserActor):
                return
            database, now = get_services().database, datetime.now(UTC)
            known = await preferences.read_preferences(database, actor)
            wants, muted = known.wants_mail, set(known.muted)
            if kind == ALL_MAIL:
                wants = is_on
            elif topic := next((each for each in MAIL_NAMES if each == kind), None):
                muted ^= {topic} if (topic in muted) == is_on else set()
            await preferences.set_preferences(
                database, actor, wants_mail=wants, muted=muted, now=now
            )

        await self._try_rules(work)
        return await self._refresh()

    async def _read_again(self) -> EventSpec | None:
        return await self._refresh()

    async def _load_rules(self) -> Rules | None:
        actor = await self._actor()
        if actor is None:
            return None
        database, account_id = get_services().database, self.account.account_id
        view = await rule_settings.read_rules(database, actor, account_id, datetime.now(UTC))
        return view.rules

    async def _save_rules(self, rules: Sequence[Rule] | None, reason: str, now: datetime) -> None:
        del reason
        actor = await self._actor()
        if actor is not None:
            database, account_id = get_services().database, self.account.account_id
            await rule_settings.set_rules(database, actor, account_id, rules, now)

    async def _read(self, actor: PersonActor, account: AccountChoice) -> None:
        database, now = get_services().database, datetime.now(UTC)
        if account.account_id != self._of_account:
            self._cursors, self._of_account = (), account.account_id
        page = await alerts.list_alerts(
            database,
            actor,
            account.account_id,
            limit=ROWS,
            cursor=self._cursors[-1] if self._cursors else None,
        )
        view = await rule_settings.read_rules(database, actor, account.account_id, now)
        current = await read_current(database, actor, account.account_id, now)
        self._currency = current.overage.currency if current.overage else USUAL_CURRENCY
        self._next_cursor = page.next_cursor
        bell = await self.get_state(BellState)
        self._show_rules(view.rules)
        self._show(
            raised=[alert_item(each, is_unread=bell.is_unread(each.id)) for each in page.items],
            has_older=page.next_cursor is not None,
            page_number=len(self._cursors) + 1,
            is_own=view.is_own,
        )
        await self._read_mail(actor)

    async def _read_mail(self, actor: PersonActor) -> None:
        if not isinstance(actor, UserActor):
            self._show(has_mail=False)
            return
        known = await preferences.read_preferences(get_services().database, actor)
        self._show(
            has_mail=True,
            wants_mail=known.wants_mail,
            mail_choices=[
                MailChoice(topic, name, known.wants(topic)) for topic, name in MAIL_NAMES.items()
            ],
        )
