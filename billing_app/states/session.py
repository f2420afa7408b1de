"""Who is looking: asked of the session's row on every event, never remembered."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import reflex as rx
from reflex.event import Event, EventSpec
from reflex.middleware.middleware import Middleware
from reflex.state import BaseState, StateUpdate

from billing_app import routes
from billing_app.billing import accounts, sessions
from billing_app.billing.accounts import AccountView
from billing_app.billing.actors import UserActor
from billing_app.composition import get_services
from billing_app.db.engine import Database
from billing_app.one_address import session_token
from billing_app.states.views import AccountChoice, Viewer
from billing_app.states.words import initials

START_AFRESH = "window.sessionStorage.clear(); window.location.reload()"


class SessionState(rx.State):
    """The viewer, the accounts they may see, and the one they look at."""

    viewer: rx.Field[Viewer] = rx.field(default_factory=Viewer)
    accounts: rx.Field[list[AccountChoice]] = rx.field(default_factory=list)
    account: rx.Field[AccountChoice] = rx.field(default_factory=AccountChoice)
    _owner_id: str = ""
    _account_id: str = ""
    _visit: int = 0

    @rx.event
    def choose_account(self, account_id: str) -> None:
        """Look at another account; whether it may be seen is decided when it is read."""
        self._account_id = account_id

    async def _actor(self) -> UserActor | None:
        token = session_token(self.router.headers.cookie)
        if not token:
            return None
        return await sessions.authenticate(_database(), token, datetime.now(UTC))

    async def _settle(self, actor: UserActor) -> AccountChoice | None:
        """Bring viewer and accounts up to date; the chosen account, or the first one."""
        self._owner_id = actor.user_id
        name = actor.name or actor.email
        choices = [_choice(view) for view in await accounts.list_accounts(_database(), actor)]
        chosen = [choice for choice in choices if choice.account_id == self._account_id]
        account = (chosen or choices or [None])[0]
        self._show(
            viewer=Viewer(name=name, email=actor.email, initials=initials(name)),
            accounts=choices,
            account=account or AccountChoice(),
        )
        return account

    def _show(self, **values: Any) -> None:
        """Set what differs, so that only that is sent."""
        for name, value in values.items():
            if getattr(self, name) != value:
                setattr(self, name, value)


class SessionGuard(Middleware):
    """Before every event: what one person was shown is never sent to another, or to nobody.

    A tab keeps its state under a token of its own, also when somebody else signs in there. When
    the owner of a state is not who the cookie says, the tab is told to start with a new state.
    """

    async def preprocess(self, app: rx.App, state: BaseState, event: Event) -> StateUpdate | None:
        """Refuse the event when the state belongs to someone else."""
        session = await state.get_state(SessionState)
        if not session._owner_id:  # noqa: SLF001
            return None
        actor = await session._actor()  # noqa: SLF001
        if actor is not None and actor.user_id == session._owner_id:  # noqa: SLF001
            return None
        afresh = Event.from_event_type(rx.call_script(START_AFRESH))
        return StateUpdate(events=afresh)


def leave_for_sign_in(path: str) -> EventSpec:
    """Load the sign-in page anew, without what this tab was shown."""
    back = f"?next={quote(path)}" if path not in ("", routes.DASHBOARD) else ""
    target = f"{routes.SIGN_IN}{back}"
    return rx.call_script(f"window.sessionStorage.clear(); window.location.assign('{target}')")


def _database() -> Database:
    return get_services().database


def _choice(view: AccountView) -> AccountChoice:
    query = {"organization_id": view.organization_id}
    if view.user_id:
        query["user_id"] = view.user_id
    return AccountChoice(
        account_id=view.account_id,
        name=view.name,
        kind="Trial account" if view.user_id else "Organization",
        initials=initials(view.name),
        export_query=urlencode(query),
    )
