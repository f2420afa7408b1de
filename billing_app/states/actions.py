"""Buttons that start something slow: carried out once, and the result shown on the page."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import reflex as rx
import structlog

from billing_app.billing.actors import PersonActor
from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderUnavailableError,
)
from billing_app.states.error_messages import problem, unexpected_problem
from billing_app.states.session import SessionState
from billing_app.states.views import Message

YES: Final = "yes"

Result = TypeVar("Result")
log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    Page = SessionState
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State


@dataclass(frozen=True, slots=True)
class Action:
    """Who pressed the button, and the account that was shown to them."""

    actor: PersonActor
    account_id: str
    now: datetime


class ActionMixin(Page, mixin=True):
    """A dialog, the action in progress, and its result, all for `of_account`.

    A state inherits from this and from SessionState. Handlers run in the background and lock the
    state only briefly, so that the page stays usable while the provider answers.
    """

    pending: rx.Field[str] = rx.field("")
    is_open: rx.Field[bool] = rx.field(False)
    problem: rx.Field[Message] = rx.field(default_factory=Message)
    done: rx.Field[Message] = rx.field(default_factory=Message)
    of_account: rx.Field[str] = rx.field("")

    @rx.event
    def close(self) -> None:
        """Close the dialog, unless the confirmed action is in progress."""
        if self.pending != YES:
            self._forget()

    @rx.event
    def dismiss_done(self) -> None:
        """Hide the result."""
        self.done = Message()

    def _forget(self) -> None:
        self._show(is_open=False, problem=Message())

    def _show_problem(self, message: Message) -> None:
        self.problem = message

    async def _start_action(self, name: str) -> Action | None:
        """Start something slow; None while something else is in progress, or without a session.

        A dialog is only valid for the account that it was opened for.
        """
        async with self:
            actor = await self._actor()
            if actor is None or self.pending:
                return None
            account_id = self.account.account_id
            is_stale = self.is_open and self.of_account != account_id
            if is_stale:
                self._forget()
                return None
            self.of_account = account_id
            self._show(pending=name, problem=Message(), done=Message())
        return Action(actor, account_id, datetime.now(UTC))

    async def _try(
        self,
        call: Callable[..., Awaitable[Result]],
        *arguments: object,
        charges: bool = False,
        **options: object,
    ) -> Result | None:
        """Carry out, show what went wrong, and enable the buttons again."""
        result: Result | None = None
        message = Message()
        try:
            result = await call(*arguments, **options)
        except BillingError as error:
            message = problem(error, charges=charges)
        except TimeoutError:
            message = problem(PaymentProviderUnavailableError(), charges=charges)
        except Exception:
            log.exception("action_failed", call=getattr(call, "__name__", ""))
            message = unexpected_problem(charges=charges)
        async with self:
            self.pending = ""
            if message.title:
                self._show_problem(message)
        return result

    async def _finish(self, done: Message) -> None:
        async with self:
            self._forget()
            self._show(done=done)
