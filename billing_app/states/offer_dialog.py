"""Buying, changing, cancelling and resuming: confirmed in a dialog, carried out once."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import reflex as rx
import structlog
from reflex.event import EventSpec

from billing_app import routes
from billing_app.billing.errors import BillingError
from billing_app.billing.offers import catalogue
from billing_app.billing.offers.catalogue import OfferUnknownError, OfferView
from billing_app.billing.plans import service as plans
from billing_app.billing.subscriptions.account_summary import AccountSummary, read_summary
from billing_app.billing.subscriptions.errors import SubscriptionEndedError
from billing_app.billing.subscriptions.invoices import read_payment_method
from billing_app.billing.subscriptions.packs import PackOrder
from billing_app.billing.subscriptions.proration import ChangePreview
from billing_app.billing.subscriptions.provider import ProviderPaymentMethod
from billing_app.billing.subscriptions.purchase_previews import AgreedSubscription, charge_minor
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.billing.subscriptions.views import Begun
from billing_app.composition import get_services
from billing_app.db.enums import When
from billing_app.states import offer_dialogs, payments
from billing_app.states.actions import YES, Action, ActionMixin
from billing_app.states.balance import NEXT_PERIOD
from billing_app.states.leaving import BLOCKED, TAB, after_leaving, break_out, way_back
from billing_app.states.offer_dialogs import BUY, CANCEL, CHANGE, SUBSCRIBE
from billing_app.states.payment_words import ASKED
from billing_app.states.session import SessionState
from billing_app.states.views import AmountLine, Choice, Message, OfferDialog

PREVIEW: Final = "preview"

Events = AsyncGenerator[EventSpec]
log = structlog.get_logger(__name__)


class OfferDialogState(ActionMixin, SessionState):
    """What the viewer is asked to confirm. Whether they may is decided by the service."""

    dialog: rx.Field[OfferDialog] = rx.field(default_factory=OfferDialog)
    choices: rx.Field[list[Choice]] = rx.field(default_factory=list)
    chosen: rx.Field[Choice] = rx.field(default_factory=lambda: Choice("", "", "", ""))
    lines: rx.Field[list[AmountLine]] = rx.field(default_factory=list)
    _offer_code: str = ""
    _subscription: SubscriptionView | None = None
    _preview: ChangePreview | None = None
    _pack_order: PackOrder | None = None
    _agreed: AgreedSubscription | None = None
    _leaving: str = ""

    @rx.event(background=True)
    async def choose(self, offer_code: str) -> Events:
        """An offer's button: open the confirmation dialog, or go to the checkout."""
        action = await self._start_action(offer_code)
        if action is None:
            return
        begun = await self._try(self._open_for, action, offer_code)
        if begun is not None and begun.checkout_url:
            yield await self._leave_for(begun.checkout_url)

    @rx.event(background=True)
    async def ask_cancel(self) -> None:
        """Open the dialog that shows what cancelling means."""
        action = await self._start_action(CANCEL)
        if action is not None:
            await self._try(self._open_cancelling, action)

    @rx.event(background=True)
    async def ask_next_period(self) -> None:
        """Open the dialog that shows what starting the next period now costs."""
        action = await self._start_action(NEXT_PERIOD)
        if action is not None:
            await self._try(self._open_next_period, action)

    @rx.event
    def choose_when(self, value: str) -> None:
        """Select one of the choices shown."""
        for choice in self.choices:
            if choice.value == value and not self.pending:
                self.chosen = choice

    @rx.event(background=True)
    async def agree(self) -> Events:
        """Confirm what is shown."""
        action = await self._start_action(YES)
        if action is None:
            return
        begun = await self._try(self._carry_out, action, charges=True)
        if begun is not None and begun.checkout_url:
            yield await self._leave_for(begun.checkout_url)
        elif begun is not None:
            yield rx.scroll_to("content")

    @rx.event(background=True)
    async def use_checkout(self) -> Events:
        """Pay at the provider's checkout instead of with the card on file."""
        action = await self._start_action(SUBSCRIBE)
        if action is None:
            return
        begun = await self._try(self._begin, action, self._offer_code, through_checkout=True)
        if begun is not None and begun.checkout_url:
            yield await self._leave_for(begun.checkout_url)

    @rx.event(background=True)
    async def take_back(self) -> Events:
        """Undo a cancellation or change that is scheduled for the end of the period."""
        action = await self._start_action("take_back")
        if action is not None and await self._try(self._resume, action):
            yield rx.scroll_to("content")

    @rx.event(background=True)
    async def open_portal(self) -> Events:
        """Go to the provider's portal for cards and invoices."""
        action = await self._start_action("portal")
        if action is None:
            return
        url = await self._try(self._portal_url, action)
        if url is not None:
            yield await self._leave_for(url)

    @rx.event
    def tell_left(self, how: str) -> None:
        """The browser says how it left the frame for the payment page, or that it did not."""
        if self._leaving and how in (TAB, BLOCKED):
            self.done = after_leaving(how, self._leaving)
        self._leaving = ""

    def drop_asked(self) -> None:
        """Forget that the bank is asked, once the page tells it, and tells its decision."""
        if self.done.title.startswith(ASKED):
            self.done = Message()

    @rx.event(background=True)
    async def settle_checkout(self) -> None:
        """Back from a checkout: ask the provider for its result. The page shows what is known."""
        async with self:
            actor, account_id = await self._actor(), self.account.account_id
        if actor is None:
            return
        try:
            await get_services().subscriptions.sync_checkout(
                actor, account_id, now=datetime.now(UTC)
            )
        except BillingError as error:
            log.warning("checkout_not_settled", code=error.code)

    def _forget(self) -> None:
        self._show(is_open=False, problem=Message())
        self._preview = None

    def _show_problem(self, message: Message) -> None:
        """In the open dialog, or in a new one."""
        if not self.is_open:
            self._show(dialog=OfferDialog(title=message.title), choices=[], lines=[], is_open=True)
        self.problem = message

    async def _open_next_period(self, action: Action) -> None:
        """At the offer that the next period would have anyway."""
        services = get_services()
        subscription = await services.subscriptions.read(action.actor, action.account_id)
        if subscription is None:
            raise SubscriptionEndedError
        offer_code = (subscription.next_offer or subscription.offer).code
        async with asyncio.timeout(services.settings.dialog_patience_seconds):
            preview = await services.subscriptions.preview(
                action.actor, subscription.id, offer_code=offer_code, now=action.now
            )
            method = await self._read_card(action)
        dialog, choices = offer_dialogs.starting_next_period(subscription, preview, method)
        await self._open(dialog, choices, offer_code=offer_code, subscription=subscription)
        async with self:
            self._preview = preview
            self._show(lines=offer_dialogs.lines_of(preview, method))

    async def _open_for(self, action: Action, offer_code: str) -> Begun | None:
        services = get_services()
        offers = await catalogue.list_offers(services.database)
        offer = next((each for each in offers if each.code == offer_code), None)
        if offer is None:
            raise OfferUnknownError(field="offer")
        subscription = await services.subscriptions.read(action.actor, action.account_id)
        if subscription is not None and offer.is_subscription:
            await self._open_changing(action, subscription, offer)
            return None
        checkout = await services.subscriptions.last_checkout(action.actor, action.account_id)
        is_waiting = payments.PurchaseState(subscription, checkout).is_open(offer)
        method = None if is_waiting else await self._read_card(action)
        if method is None:
            return await self._begin(action, offer_code, through_checkout=True)
        await self._open_paying(action, offer, method)
        return None

    async def _read_card(self, action: Action) -> ProviderPaymentMethod | None:
        services = get_services()
        async with asyncio.timeout(services.settings.dialog_patience_seconds):
            return await read_payment_method(
                services.database, services.provider, action.actor, action.account_id
            )

    async def _open_paying(
        self, action: Action, offer: OfferView, method: ProviderPaymentMethod
    ) -> None:
        """With the card on file."""
        services, actor, account_id = get_services(), action.actor, action.account_id
        trial_days = await services.subscriptions.trial_days(actor, account_id, offer)
        place = await plans.read_place(
            services.database, actor, account_id, offer, trial_days=trial_days, now=action.now
        )
        async with asyncio.timeout(services.settings.dialog_patience_seconds):
            due_minor = await charge_minor(
                services.database, services.provider, actor, account_id, offer, action.now
            )
        agreed = AgreedSubscription(offer, method.provider_id, due_minor, trial_days)
        order = PackOrder(offer, method.provider_id, secrets.token_hex(16), due_minor)
        if offer.is_subscription:
            is_taxed = services.settings.stripe_tax
            dialog, choices = offer_dialogs.subscribing(
                offer, method, place, due_minor, trial_days=trial_days, is_taxed=is_taxed
            )
        else:
            dialog, choices = offer_dialogs.buying(offer, method, place, due_minor)
        await self._open(dialog, choices, offer_code=offer.code, agreed=agreed, order=order)

    async def _open_changing(
        self, action: Action, subscription: SubscriptionView, offer: OfferView
    ) -> None:
        """A change at the end of the period is known here; a charge today needs a preview."""
        services = get_services()
        summary = await self._summary(action, subscription)
        plan, is_taxed = summary.period_plan, services.settings.stripe_tax
        dialog, choices = offer_dialogs.changing(
            subscription, offer, plan, undecided=summary.undecided, is_taxed=is_taxed
        )
        await self._open(dialog, choices, offer_code=offer.code, subscription=subscription)
        if summary.undecided or not offer_dialogs.may_change_now(subscription, offer):
            return
        async with self:
            self.pending = PREVIEW
        async with asyncio.timeout(services.settings.dialog_patience_seconds):
            preview = await services.subscriptions.preview(
                action.actor, subscription.id, offer_code=offer.code, now=action.now
            )
            method = await self._read_card(action)
        now = offer_dialogs.changing_now(subscription, preview, method)
        async with self:
            self._preview = preview
            lines = offer_dialogs.lines_of(preview, method)
            self._show(choices=[now, *choices], chosen=now, lines=lines)

    async def _open_cancelling(self, action: Action) -> None:
        services = get_services()
        subscription = await services.subscriptions.read(action.actor, action.account_id)
        if subscription is None:
            raise SubscriptionEndedError
        summary = await self._summary(action, subscription)
        current, plan = summary.current, summary.kept_plan
        elsewhere = current.executions_remaining - (plan.remaining if plan else 0)
        owed_minor = current.overage.cost_minor if current.overage else 0
        dialog, choices = offer_dialogs.cancelling(
            subscription,
            plan,
            elsewhere=max(0, elsewhere),
            owed_minor=owed_minor,
            debit=summary.unpaid_start,
        )
        await self._open(dialog, choices, subscription=subscription)

    async def _open(
        self,
        dialog: OfferDialog,
        choices: list[Choice],
        *,
        offer_code: str = "",
        subscription: SubscriptionView | None = None,
        agreed: AgreedSubscription | None = None,
        order: PackOrder | None = None,
    ) -> None:
        async with self:
            self._offer_code, self._subscription, self._preview = offer_code, subscription, None
            self._agreed, self._pack_order = agreed, order
            self._show(dialog=dialog, choices=choices, chosen=choices[0], lines=[], is_open=True)

    async def _carry_out(self, action: Action) -> Begun | None:
        """Exactly what is shown: the browser only confirms."""
        async with self:
            if not self.is_open or not self.choices:
                return None
            kind, when, offer_code = self.dialog.kind, self.chosen.value, self._offer_code
            subscription, preview = self._subscription, self._preview
            pack_order, agreed = self._pack_order, self._agreed
        if kind == BUY and pack_order is not None:
            return await self._buy(action, pack_order)
        if kind == SUBSCRIBE and agreed is not None:
            begun = await self._begin(action, offer_code, through_checkout=False, agreed=agreed)
            if begun.subscription is not None:
                summary = await self._summary(action, begun.subscription)
                done = offer_dialogs.subscribed(begun.subscription, summary, agreed.due_minor)
                await self._finish(done)
            return begun
        assert subscription is not None
        subscriptions, at = get_services().subscriptions, When(when)
        if kind in (CHANGE, NEXT_PERIOD):
            after = await subscriptions.change(
                action.actor,
                subscription.id,
                offer_code=offer_code,
                when=at,
                now=action.now,
                agreed=preview if at is When.NOW else None,
            )
            summary = await self._summary(action, after)
            if kind == NEXT_PERIOD and preview is not None:
                done = offer_dialogs.next_period_started(after, preview, summary)
            else:
                done = offer_dialogs.changed(after, preview, summary)
            await self._finish(done)
        else:
            after = await subscriptions.cancel(
                action.actor, subscription.id, when=at, now=action.now
            )
            await self._finish(offer_dialogs.cancelled(after))
        return Begun(after, None)

    async def _buy(self, action: Action, order: PackOrder) -> Begun:
        packs = get_services().subscriptions.packs
        outcome = await packs.buy(action.actor, action.account_id, order, action.now)
        summary = await self._summary(action)
        await self._finish(payments.bought(order.offer, summary, outcome))
        return Begun(None, None)

    async def _summary(
        self, action: Action, subscription: SubscriptionView | None = None
    ) -> AccountSummary:
        """As of now: what was just bought may have begun after the button was pressed. Of
        `subscription`, if it is given, as it was when it was read."""
        database, now = get_services().database, datetime.now(UTC)
        summary = await read_summary(database, action.actor, action.account_id, now)
        return replace(summary, subscription=subscription or summary.subscription)

    async def _begin(
        self,
        action: Action,
        offer_code: str,
        *,
        through_checkout: bool,
        agreed: AgreedSubscription | None = None,
    ) -> Begun:
        services = get_services()
        overview = services.settings.public_url + routes.OVERVIEW
        is_embedded = self.is_embedded
        return await services.subscriptions.begin(
            action.actor,
            action.account_id,
            offer_code=offer_code,
            success_url=way_back(
                action.actor, f"{overview}?checkout=done", is_embedded=is_embedded
            ),
            cancel_url=way_back(action.actor, f"{overview}?checkout=left", is_embedded=is_embedded),
            now=action.now,
            through_checkout=through_checkout,
            agreed=agreed,
        )

    async def _resume(self, action: Action) -> SubscriptionView:
        subscriptions = get_services().subscriptions
        subscription = await subscriptions.read(action.actor, action.account_id)
        if subscription is None:
            raise SubscriptionEndedError
        after = await subscriptions.resume(action.actor, subscription.id, now=action.now)
        await self._finish(offer_dialogs.resumed(after))
        return after

    async def _portal_url(self, action: Action) -> str:
        services = get_services()
        overview = services.settings.public_url + routes.OVERVIEW
        return await services.subscriptions.portal_url(
            action.actor,
            action.account_id,
            return_url=way_back(action.actor, overview, is_embedded=self.is_embedded),
            now=action.now,
        )

    async def _leave_for(self, url: str) -> EventSpec:
        """Go to a page of the provider's, out of the frame that the page may be in."""
        async with self:
            if not self.is_embedded:
                return rx.redirect(url)
            self._leaving = url
        return rx.call_script(break_out(url), callback=OfferDialogState.tell_left)
