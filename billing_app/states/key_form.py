"""Creating, rotating and revoking API keys; whether the viewer may is decided by the service."""

from typing import Any, Final

import reflex as rx
from reflex.event import EventCallback

from billing_app.billing.accounts import own_keys
from billing_app.billing.accounts.own_keys import KeyFields, NewOwnKey
from billing_app.billing.actors import UserActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.typed_numbers import typed_count
from billing_app.composition import get_services
from billing_app.db.enums import Scope
from billing_app.states.actions import YES, Action, ActionMixin
from billing_app.states.first_run import FirstRun, first_run, owner_of
from billing_app.states.keys import KeyItem, KeysState
from billing_app.states.session import SessionState
from billing_app.states.views import Message

ADD, ROTATE, REVOKE, SECRET, FIRST = "add", "rotate", "revoke", "secret", "first"
SCOPE_FIELD: Final = "scope "
FIRST_NAME: Final = "First key"

Refresh = EventCallback[()] | None


class KeyFormState(ActionMixin, SessionState):
    """The dialogs of the keys page, and the first key on an empty dashboard."""

    kind: rx.Field[str] = rx.field("")
    chosen: rx.Field[KeyItem] = rx.field(default_factory=KeyItem)
    secret: rx.Field[str] = rx.field("")
    code: rx.Field[FirstRun] = rx.field(default_factory=FirstRun)
    copied: rx.Field[str] = rx.field("")

    @rx.event
    def begin(self) -> None:
        """A page was opened: a key is shown once, not after a reload."""
        self._forget()
        self._show(done=Message())

    @rx.event
    async def ask(self, kind: str, key_id: int) -> None:
        """Open the dialog that creates a key, or one about a key of the list."""
        keys = (await self.get_state(KeysState)).keys
        found = next((each for each in keys if each.id == key_id), None)
        if self.pending or kind not in (ADD, ROTATE, REVOKE) or (kind != ADD and found is None):
            return
        self._show(
            kind=kind,
            chosen=found or KeyItem(),
            is_open=True,
            of_account=self.account.account_id,
            problem=Message(),
            done=Message(),
        )

    @rx.event
    def note_copied(self, what: str) -> None:
        """Something is in the clipboard."""
        self._show(copied=what[:32])

    @rx.event(background=True)
    async def create(self, form: dict[str, Any]) -> Refresh:
        """Create the key of the form, and show it."""
        return await self._carry_out(SECRET, self._create, form)

    @rx.event(background=True)
    async def create_first(self) -> Refresh:
        """Create a key with one press, and show it in the code beside it."""
        return await self._carry_out(FIRST, self._create, {"name": FIRST_NAME})

    @rx.event(background=True)
    async def rotate(self) -> Refresh:
        """Create a key in place of the chosen one, and show it."""
        return await self._carry_out(SECRET, self._rotate, self.chosen.id)

    @rx.event(background=True)
    async def revoke(self) -> Refresh:
        """Revoke the chosen key."""
        action = await self._start_action(YES)
        if action is None or await self._try(self._revoke, action, self.chosen.id) is None:
            return None
        await self._finish(
            Message("good", "Key revoked", "Requests with it are refused within five seconds.")
        )
        return KeysState.load

    def _forget(self) -> None:
        """Close the dialog; a key is not shown again."""
        self._show(is_open=False, kind="", secret="", code=FirstRun(), copied="", problem=Message())

    def _show_problem(self, message: Message) -> None:
        """In the dialog if one is open, else on the page."""
        self._show(**{"problem" if self.is_open else "done": message})

    async def _carry_out(self, kind: str, call: Any, *arguments: Any) -> Refresh:
        action = await self._start_action(YES)
        if action is None:
            return None
        made = await self._try(call, action, *arguments)
        if made is None:
            return None
        async with self:
            self._show(
                kind=kind,
                is_open=kind == SECRET,
                secret=made.secret,
                code=self._code(action, made.secret),
                copied="",
            )
        return KeysState.load if kind == SECRET else None

    def _code(self, action: Action, secret: str) -> FirstRun:
        services = get_services()
        user_id = action.actor.user_id if isinstance(action.actor, UserActor) else ""
        owner = owner_of(self.account, user_id, services.terms.public_organization_id)
        return first_run(services.settings.public_url, owner, secret)

    async def _create(self, action: Action, form: dict[str, Any]) -> NewOwnKey:
        database, actor, account_id = get_services().database, action.actor, action.account_id
        return await own_keys.create_own_key(database, actor, account_id, _fields(form), action.now)

    async def _rotate(self, action: Action, key_id: int) -> NewOwnKey:
        database, actor, account_id = get_services().database, action.actor, action.account_id
        return await own_keys.rotate_own_key(database, actor, account_id, key_id, action.now)

    async def _revoke(self, action: Action, key_id: int) -> bool:
        database, actor, account_id = get_services().database, action.actor, action.account_id
        await own_keys.revoke_own_key(database, actor, account_id, key_id, action.now)
        return True


def _fields(form: dict[str, Any]) -> KeyFields:
    """The form of `create`; without boxes, what keys usually may do."""
    chosen = frozenset(scope for scope in Scope if form.get(f"{SCOPE_FIELD}{scope}"))
    is_asked = "days" in form
    return KeyFields(
        name=str(form.get("name", "")),
        scopes=chosen if is_asked else own_keys.USUAL_SCOPES,
        workflow=str(form.get("workflow", "")),
        days=_days(str(form.get("days", ""))),
    )


def _days(typed: str) -> int | None:
    if not typed.strip():
        return None
    days = typed_count(typed)
    if days is None:
        raise InvalidInputError(f"Enter 1 to {own_keys.MAX_DAYS:,} days.", field="days")
    return days
