"""Who is signed in: read from the session's row on every event, never remembered."""

import asyncio
import hashlib
import json
import time
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import reflex as rx
import structlog
from reflex.constants import CompileVars
from reflex.event import Event, EventSpec
from reflex.middleware.middleware import Middleware
from reflex.state import BaseState, StateUpdate

from billing_app import routes
from billing_app.billing import ids
from billing_app.billing.accounts import service as accounts
from billing_app.billing.accounts.service import AccountView
from billing_app.billing.actors import PersonActor, PortalActor, UserActor, ViewingActor
from billing_app.billing.identity.email_changes import read_person
from billing_app.billing.staff.access import viewing
from billing_app.billing.staff.access.viewing import Visitor
from billing_app.billing.subscriptions.account_alerts import read_stop
from billing_app.composition import get_services
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind
from billing_app.reverse_proxy import session_token
from billing_app.states import formatting
from billing_app.states.banner import banner_of
from billing_app.states.formatting import initials, listed
from billing_app.states.views import AccountChoice, Banner, Viewer

log = structlog.get_logger(__name__)

START_AFRESH: Final = "window.sessionStorage.clear(); window.location.reload()"
# Events that send the whole of a state.
SENDS_ALL: Final = frozenset({CompileVars.HYDRATE, CompileVars.HYDRATE_AND_LOAD})
PERSONAL: Final = "Personal account"


class CircuitBreaker:
    """Opened by a query that timed out. While it is open, others fail without waiting: an event
    would wait for the guard's query and then for its own, while its page still says "Live"."""

    until: float = 0.0

    def open(self) -> None:
        self.until = time.monotonic() + get_services().settings.page_retry_seconds

    def require_closed(self) -> None:
        """Raises TimeoutError while it is open."""
        if time.monotonic() < self.until:
            raise TimeoutError


_breaker = CircuitBreaker()


def patience() -> asyncio.Timeout:
    """The time limit of one read: a database that never answers counts as unreachable."""
    return asyncio.timeout(get_services().settings.page_patience_seconds)


class SessionState(rx.State):
    """The viewer, the accounts they may see, and the one shown."""

    viewer: rx.Field[Viewer] = rx.field(default_factory=Viewer)
    accounts: rx.Field[list[AccountChoice]] = rx.field(default_factory=list)
    account: rx.Field[AccountChoice] = rx.field(default_factory=AccountChoice)
    is_staff: rx.Field[bool] = rx.field(False)
    viewing_text: rx.Field[str] = rx.field("")
    back_label: rx.Field[str] = rx.field("")
    back_url: rx.Field[str] = rx.field("")
    is_embedded: rx.Field[bool] = rx.field(False)
    banner: rx.Field[Banner] = rx.field(default_factory=Banner)
    unconfirmed_email: rx.Field[str] = rx.field("")
    managers: rx.Field[str] = rx.field("")
    _has_confirmed: bool = False
    _owner_id: str = ""
    _owner_proof: str = ""
    _account_id: str = ""
    _visit: int = 0

    @rx.event
    def choose_account(self, account_id: str) -> None:
        """Show another account; whether the viewer may see it is decided when it is read."""
        self._account_id = account_id

    @rx.event
    async def end_view(self) -> EventSpec | None:
        """Stop viewing as a customer, and go back to the account in the console."""
        visitor = await self._visitor()
        if visitor is None or visitor.staff is None:
            return None
        account_id = await viewing.end_view(
            _database(), visitor.staff, self._token(), datetime.now(UTC)
        )
        return go_afresh(routes.staff_customer(account_id)) if account_id else None

    def _token(self) -> str:
        return session_token(self.router.headers.cookie)

    async def _visitor(self) -> Visitor | None:
        """Raises TimeoutError when the database does not answer."""
        token = self._token()
        if not token:
            return None
        _breaker.require_closed()
        try:
            async with patience():
                return await viewing.visit(_database(), token, datetime.now(UTC))
        except TimeoutError:
            _breaker.open()
            raise

    async def _actor(self) -> PersonActor | None:
        visitor = await self._visitor()
        if visitor is None:
            return None
        self._greet(visitor)
        return visitor.actor

    def _greet(self, visitor: Visitor) -> None:
        person = visitor.person
        is_portal = isinstance(person, PortalActor)
        name = person.name or person.email or (person.person_id if is_portal else "")
        self._show(
            viewer=Viewer(name=name, email=person.email, initials=initials(name)),
            back_url=person.return_url if is_portal else "",
            back_label=back_label(person.return_url) if is_portal else "",
            is_staff=visitor.staff is not None,
            viewing_text=_viewing_text(visitor.view) if visitor.view else "",
        )
        if self.router.url.query_parameters.get("embed") == "1":
            self._show(is_embedded=True)

    def _owns(self, actor: PersonActor) -> None:
        """From now on this tab's state belongs to them."""
        self._show(_owner_id=_owner_id(actor), _owner_proof=_proof(self._token()))

    def _was_shown_to(self, token: str) -> bool:
        """Whether this browser was last known to be the owner's."""
        return self._owner_proof == _proof(token)

    def _leave(self, actor: PersonActor | None) -> EventSpec | None:
        """Where to send a tab that shows what another person may see; None to stay."""
        if actor is None:
            return leave_for_sign_in(self.router.url.path)
        if not self._owner_id or self._owner_id == _owner_id(actor):
            return None
        _, _, viewed = self._owner_id.partition(" ")
        return go_afresh(routes.staff_customer(viewed)) if viewed else _afresh()

    async def _sync_account(self, actor: PersonActor) -> AccountChoice | None:
        """Update viewer and accounts; returns the chosen account, or the first one."""
        self._owns(actor)
        views = await accounts.list_accounts(_database(), actor)
        choices = [_choice(actor, view) for view in views]
        wanted = self._account_id or self.router.url.query_parameters.get("account", "")
        chosen = [choice for choice in choices if choice.account_id == wanted]
        account = (chosen or choices or [None])[0]
        self._show(accounts=choices, account=account or AccountChoice())
        return account

    async def _show_banner(self, actor: PersonActor, account: AccountChoice, now: datetime) -> None:
        """The banner above every page: why executions stop or soon will, and who can pay."""
        names: list[str] = []
        if not account.may_manage:
            names = await accounts.list_managers(_database(), actor, account.account_id)
        stop = await read_stop(_database(), actor, account.account_id, now)
        managers = listed(names)
        top_up = await get_services().top_ups.read(actor, account.account_id, now)
        banner = banner_of(stop, may_manage=account.may_manage, managers=managers, top_up=top_up)
        self._show(managers=managers, banner=banner)
        await self._ask_to_confirm(actor, now)

    async def _ask_to_confirm(self, actor: PersonActor, now: datetime) -> None:
        """Until the viewer has confirmed their email address, where mail can be sent."""
        if self._has_confirmed or not isinstance(actor, UserActor):
            return
        person = await read_person(_database(), actor, now)
        must = person.must_confirm and person.pending is None
        has_mail = get_services().mailer is not None
        self._show(
            unconfirmed_email=person.email if must and has_mail else "",
            _has_confirmed=not person.must_confirm,
        )

    def _show(self, **values: Any) -> None:
        """Set only what differs, so that only that is sent."""
        for name, value in values.items():
            if getattr(self, name) != value:
                setattr(self, name, value)


class SessionGuard(Middleware):
    """Before every event: what one person was shown is never sent to anyone else.

    A tab keeps its state under a token of its own, even when another person signs in there. If
    the cookie does not belong to the state's owner, the tab must start with a new state.
    """

    async def preprocess(self, app: rx.App, state: BaseState, event: Event) -> StateUpdate | None:
        """Refuse the event if the state belongs to someone else."""
        session = await state.get_state(SessionState)
        if not session._owner_id:  # noqa: SLF001
            return None
        try:
            visitor = await session._visitor()  # noqa: SLF001
        except Exception as error:
            log.warning("visitor_unknown", error=type(error).__name__)
            return _without_database(session, event)
        return _redirected(session._leave(visitor.actor) if visitor else _afresh())  # noqa: SLF001


def _without_database(session: SessionState, event: Event) -> StateUpdate | None:
    """The session can't be checked. The tab keeps what it shows, marked as out of date, and events
    reach their handlers, which check again; but no state is sent again, or to anyone else."""
    sends_all = event.name.rpartition(".")[2] in SENDS_ALL
    if sends_all or not session._was_shown_to(session._token()):  # noqa: SLF001
        return _redirected(_afresh())
    return None


def _redirected(leave: EventSpec | None) -> StateUpdate | None:
    return None if leave is None else StateUpdate(events=Event.from_event_type(leave))


def _afresh() -> EventSpec:
    return rx.call_script(START_AFRESH)


def leave_for_sign_in(path: str) -> EventSpec:
    """Load the sign-in page and clear what this tab was shown."""
    back = f"?next={quote(path)}" if path not in ("", routes.DASHBOARD) else ""
    target = f"{routes.SIGN_IN}{back}"
    return rx.call_script(f"window.sessionStorage.clear(); window.location.assign('{target}')")


def go_afresh(path: str) -> EventSpec:
    """Load a page and clear what this tab was shown."""
    return rx.call_script(
        f"window.sessionStorage.clear(); window.location.assign({json.dumps(path)})"
    )


def _owner_id(actor: PersonActor) -> str:
    """Who a tab's state belongs to: a person, or staff and the account they view."""
    if isinstance(actor, UserActor):
        return actor.user_id
    if isinstance(actor, PortalActor):
        whose = hashlib.sha256(actor.person_id.encode()).hexdigest()
        return f"portal:{ids.encode_account(actor.account_number)}:{whose}"
    return f"{actor.staff.actor_id} {ids.encode_account(actor.account_number)}"


def back_label(return_url: str) -> str:
    """The link back to the product that somebody came from."""
    product = get_services().settings.product_name or urlsplit(return_url).hostname or ""
    return f"Back to {product}"


def _proof(token: str) -> str:
    """Identifies a cookie without keeping it."""
    return hashlib.sha256(token.encode()).hexdigest()


def _viewing_text(view: ViewingActor) -> str:
    """The banner for staff who view an account as its holder sees it."""
    holder = "owner" if view.kind is AccountKind.ORGANIZATION else "holder"
    until = formatting.time_of_day(view.until)
    return f"Viewing {view.holder} as its {holder}, read-only until {until} UTC"


def _database() -> Database:
    return get_services().database


def _choice(actor: PersonActor, view: AccountView) -> AccountChoice:
    query = {"organization_id": view.organization_id}
    if view.user_id:
        query["user_id"] = view.user_id
    return AccountChoice(
        account_id=view.account_id,
        name=view.name,
        kind=PERSONAL if view.user_id else "Organization",
        initials=initials(view.name),
        organization_id="" if view.user_id else view.organization_id,
        export_query=urlencode(query),
        may_manage=not isinstance(actor, ViewingActor) and view.may_manage,
        role=view.role.value if view.role and not view.user_id else "",
    )
