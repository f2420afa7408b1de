"""Changing the details; whether the viewer may is decided by the services."""

from typing import Any, Final

import reflex as rx
from reflex.event import EventCallback

from billing_app.billing.accounts import billing_details
from billing_app.billing.accounts.service import ReadOnlyError
from billing_app.billing.actors import UserActor
from billing_app.billing.identity import email_changes
from billing_app.billing.identity.email_links import EmailLinkExpiredError
from billing_app.composition import get_services
from billing_app.jobs.customers import get_details_queue
from billing_app.jobs.mail import get_mail_queue
from billing_app.states.actions import YES, Action, ActionMixin
from billing_app.states.details import DetailsState
from billing_app.states.session import SessionState
from billing_app.states.views import Message

NAME: Final = "name"
EMAIL: Final = "email"
BILLING_NAME: Final = "billing_name"
BILLING_EMAIL: Final = "billing_email"
PURCHASE_ORDER: Final = "purchase_order"
KINDS: Final = (NAME, EMAIL, BILLING_NAME, BILLING_EMAIL, PURCHASE_ORDER)
SEND_AGAIN: Final = "again_"
WITHDRAW: Final = "withdraw_"
CHECK_EMAIL: Final = "Check your email"

Refresh = EventCallback[()] | None


class DetailsFormState(ActionMixin, SessionState):
    """The dialogs, and the buttons of an address that waits for its confirmation."""

    kind: rx.Field[str] = rx.field("")

    @rx.event
    def ask(self, kind: str) -> None:
        """Open the dialog that changes a detail."""
        if kind in KINDS and not self.pending:
            of_account = self.account.account_id
            self._show(
                kind=kind, is_open=True, of_account=of_account, problem=Message(), done=Message()
            )

    @rx.event(background=True)
    async def change_name(self, form: dict[str, Any]) -> Refresh:
        """Set the viewer's own name."""
        return await self._carry_out(YES, self._change_name, str(form.get("name", "")))

    @rx.event(background=True)
    async def change_email(self, form: dict[str, Any]) -> Refresh:
        """Mail a link to the viewer's new address."""
        email, password = str(form.get("email", "")), str(form.get("password", ""))
        return await self._carry_out(YES, self._change_email, email, password)

    @rx.event(background=True)
    async def change_billing_name(self, form: dict[str, Any]) -> Refresh:
        """Set the account's billing name; empty removes it."""
        return await self._carry_out(YES, self._change_billing_name, str(form.get("name", "")))

    @rx.event(background=True)
    async def change_billing_email(self, form: dict[str, Any]) -> Refresh:
        """Mail a link to the account's new billing email; empty removes it."""
        return await self._carry_out(YES, self._change_billing_email, str(form.get("email", "")))

    @rx.event(background=True)
    async def change_purchase_order(self, form: dict[str, Any]) -> Refresh:
        """Set the purchase-order number on the account's invoices; empty removes it."""
        number = str(form.get("purchase_order", ""))
        return await self._carry_out(YES, self._change_purchase_order, number)

    @rx.event(background=True)
    async def send_again(self, kind: str) -> Refresh:
        """Mail a new link to the address that waits."""
        return await self._carry_out(f"{SEND_AGAIN}{kind}"[:32], self._send_again, kind)

    @rx.event(background=True)
    async def withdraw(self, kind: str) -> Refresh:
        """Void the link of the address that waits."""
        return await self._carry_out(f"{WITHDRAW}{kind}"[:32], self._withdraw, kind)

    def _show_problem(self, message: Message) -> None:
        """In the dialog if one is open, else on the page."""
        self._show(**{"problem" if self.is_open else "done": message})

    async def _carry_out(self, name: str, call: Any, *arguments: str) -> Refresh:
        action = await self._start_action(name)
        if action is None:
            return None
        done = await self._try(call, action, *arguments)
        if done is None:
            return None
        await self._finish(done)
        return DetailsState.load

    async def _change_name(self, action: Action, name: str) -> Message:
        database, queue = get_services().database, get_details_queue()
        await email_changes.change_name(database, queue, action.actor, name=name, now=action.now)
        return Message("good", "Name changed")

    async def _change_email(self, action: Action, email: str, password: str) -> Message:
        attempts = get_services().attempts
        counted = await attempts.check_password(_person(action).user_id, action.now)
        await self._count_link(action, email)
        await email_changes.request_email_change(
            get_services().database,
            get_mail_queue(),
            action.actor,
            email=email,
            password=password,
            token=self._token(),
            now=action.now,
        )
        await attempts.forget(counted)
        text = "We emailed a link to the new address. Until you confirm it, nothing changes."
        return Message("good", CHECK_EMAIL, text)

    async def _change_billing_name(self, action: Action, name: str) -> Message:
        await billing_details.change_billing_name(
            get_services().database,
            get_details_queue(),
            action.actor,
            action.account_id,
            name=name,
            now=action.now,
        )
        return Message("good", "Billing name changed", "It appears on new invoices.")

    async def _change_purchase_order(self, action: Action, number: str) -> Message:
        await billing_details.change_purchase_order(
            get_services().database,
            get_details_queue(),
            action.actor,
            action.account_id,
            purchase_order=number,
            now=action.now,
        )
        text = "It appears on new invoices." if number.strip() else "New invoices have none."
        return Message("good", "Purchase-order number changed", text)

    async def _change_billing_email(self, action: Action, email: str) -> Message:
        database = get_services().database
        actor, account_id, now = action.actor, action.account_id, action.now
        if not email.strip():
            queue = get_details_queue()
            await billing_details.remove_billing_email(database, queue, actor, account_id, now=now)
            return Message("good", "Billing email changed", "New invoices go to the usual address.")
        await self._count_link(action, email)
        await billing_details.request_billing_email(
            database, get_mail_queue(), actor, account_id, email=email, now=now
        )
        text = "We emailed a link to the new address. Invoices go there once it is confirmed."
        return Message("good", CHECK_EMAIL, text)

    async def _send_again(self, action: Action, kind: str) -> Message:
        database, queue = get_services().database, get_mail_queue()
        actor, account_id, now = action.actor, action.account_id, action.now
        if kind == EMAIL:
            pending = (await email_changes.read_person(database, actor, now)).pending
        else:
            pending = (await billing_details.read_details(database, actor, account_id, now)).pending
        if pending is None:
            raise EmailLinkExpiredError
        await self._count_link(action, pending.email)
        if kind == EMAIL:
            await email_changes.send_link_again(database, queue, actor, now)
        else:
            await billing_details.send_billing_link_again(database, queue, actor, account_id, now)
        return Message("good", CHECK_EMAIL, "We emailed a new link. Earlier links no longer work.")

    async def _withdraw(self, action: Action, kind: str) -> Message:
        database = get_services().database
        if kind == EMAIL:
            await email_changes.withdraw_email_change(database, action.actor)
        else:
            await billing_details.withdraw_billing_email(database, action.actor, action.account_id)
        return Message("good", "Change withdrawn", "The link no longer works.")

    async def _count_link(self, action: Action, email: str) -> None:
        """Raises TooManyAttemptsError."""
        await get_services().attempts.check_email_link(
            _person(action).user_id,
            email.strip().lower(),
            self.router.session.client_ip,
            action.now,
        )


def _person(action: Action) -> UserActor:
    """Raises ReadOnlyError for staff who view the account."""
    if not isinstance(action.actor, UserActor):
        raise ReadOnlyError
    return action.actor
