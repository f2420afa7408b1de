"""The API keys of the account that is shown."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.accounts.own_keys import OwnKey, list_own_keys, scopes_for
from billing_app.billing.actors import PersonActor, UserActor
from billing_app.billing.errors import ForbiddenError
from billing_app.composition import get_services
from billing_app.db.enums import Scope
from billing_app.states import formatting
from billing_app.states.change_polling import LivePage
from billing_app.states.session import SessionState
from billing_app.states.views import AccountChoice

SCOPES: Final = {
    Scope.EXECUTIONS: ("Count executions", "Check, consume, reserve and refund"),
    Scope.PLANS_READ: ("Read plans and usage", "Balances, usage and the ledger"),
    Scope.SUBSCRIPTIONS: ("Buy and change plans", "Can spend money"),
    Scope.ALERTS: ("Manage alerts", "Rules, and alerts that were raised"),
    Scope.WEBHOOKS: ("Manage webhooks", "Endpoints, and their secrets"),
}


@dataclass(frozen=True, slots=True)
class KeyItem:
    """A key as it is listed; `is_live`: it can be rotated and revoked."""

    id: int = 0
    name: str = ""
    hint: str = ""
    may: str = ""
    workflow: str = ""
    status: str = ""
    tone: str = ""
    used: str = ""
    created: str = ""
    is_live: bool = False


@dataclass(frozen=True, slots=True)
class ScopeChoice:
    """A box of the form that creates a key."""

    value: str
    label: str
    note: str
    is_usual: bool


class KeysState(LivePage, SessionState):
    """Listed for those who may manage the account. Nobody is shown a key again."""

    keys: rx.Field[list[KeyItem]] = rx.field(default_factory=list)
    choices: rx.Field[list[ScopeChoice]] = rx.field(default_factory=list)
    organization_id: rx.Field[str] = rx.field("")
    user_id: rx.Field[str] = rx.field("")
    is_refused: rx.Field[bool] = rx.field(False)
    page_number: rx.Field[int] = rx.field(1)
    has_older: rx.Field[bool] = rx.field(False)
    _cursors: tuple[str, ...] = ()
    _next_cursor: str | None = None
    _listed_for: str = ""

    @rx.event
    async def show_older(self) -> EventSpec | None:
        """The next page of keys."""
        if self._next_cursor is not None:
            self._cursors = (*self._cursors, self._next_cursor)
        return await self._refresh()

    @rx.event
    async def show_newer(self) -> EventSpec | None:
        """The page before."""
        self._cursors = self._cursors[:-1]
        return await self._refresh()

    async def _read(self, actor: PersonActor, account: AccountChoice) -> None:
        services, now = get_services(), datetime.now(UTC)
        if self._listed_for != account.account_id:
            self._cursors, self._listed_for = (), account.account_id
        cursor = self._cursors[-1] if self._cursors else None
        is_personal = account.organization_id == ""
        public = services.terms.public_organization_id
        self._show(
            organization_id=account.organization_id or public,
            user_id=actor.user_id if is_personal and isinstance(actor, UserActor) else "",
            choices=[_choice(scope) for scope in scopes_for(is_personal=is_personal)],
        )
        try:
            page = await list_own_keys(
                services.database, actor, account.account_id, now, cursor=cursor
            )
        except ForbiddenError:
            self._next_cursor = None
            self._show(is_refused=True, keys=[], has_older=False)
            return
        self._next_cursor = page.next_cursor
        self._show(
            is_refused=False,
            keys=[key_item(key, now) for key in page.items],
            has_older=page.next_cursor is not None,
            page_number=len(self._cursors) + 1,
        )


def key_item(key: OwnKey, now: datetime) -> KeyItem:
    status, tone = _status(key, now)
    used = f"Last used {formatting.moment(key.last_used_at)} UTC" if key.last_used_at else ""
    return KeyItem(
        id=key.id,
        name=key.name,
        hint=f"{key.hint}…",
        may=", ".join(SCOPES[scope][0] if scope in SCOPES else scope for scope in key.scopes),
        workflow=key.workflow,
        status=status,
        tone=tone,
        used=used or "Never used",
        created=f"Created {formatting.moment(key.created_at)} UTC",
        is_live=tone != "bad",
    )


def _status(key: OwnKey, now: datetime) -> tuple[str, str]:
    if key.revoked_at is not None:
        return "Revoked", "bad"
    if key.expires_at is None:
        return "Active", "good"
    if key.expires_at <= now:
        return "Expired", "bad"
    return f"Expires {formatting.moment(key.expires_at)} UTC", "warning"


def _choice(scope: Scope) -> ScopeChoice:
    label, note = SCOPES[scope]
    return ScopeChoice(scope.value, label, note, scope in (Scope.EXECUTIONS, Scope.PLANS_READ))
