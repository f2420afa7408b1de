"""What the plans page shows."""

from datetime import UTC, datetime, timedelta
from typing import Final

import reflex as rx
from reflex.event import EventCallback, EventSpec

from billing_app import routes
from billing_app.billing.actors import PersonActor
from billing_app.billing.offers import catalogue
from billing_app.billing.plans import service as plans
from billing_app.billing.subscriptions.account_summary import AccountSummary, read_summary
from billing_app.billing.subscriptions.checkouts import OPEN, CheckoutView
from billing_app.billing.subscriptions.forecast import read_pace
from billing_app.billing.subscriptions.invoices import list_invoices
from billing_app.billing.usage import service as usage
from billing_app.billing.usage.service import Days, GroupBy
from billing_app.composition import get_services
from billing_app.db.enums import Interval
from billing_app.states import payments, spending_limit_views
from billing_app.states.balance import no_plan, nothing_follows, plan_details, plan_row, warning_of
from billing_app.states.card_on_file import CardState
from billing_app.states.change_polling import LivePage
from billing_app.states.offer_dialog import OfferDialogState
from billing_app.states.payment_words import debit_messages
from billing_app.states.session import PERSONAL, SessionState
from billing_app.states.spending_limits import SpendingLimitState
from billing_app.states.support import SupportState
from billing_app.states.views import (
    AccountChoice,
    InvoiceRow,
    LimitView,
    Message,
    OfferItem,
    PlanDetails,
    PlanRow,
    SubscriptionTerms,
    TopUpItem,
)

HISTORY_ROWS: Final = 10
INVOICE_ROWS: Final = 6
CHECKOUT_ANSWERS: Final = ("done", "left")


def shown_once() -> list[EventCallback[()]]:
    """Events that forget the results of dialogs: opening a page again does not repeat them."""
    return [OfferDialogState.dismiss_done, SpendingLimitState.dismiss_done]


class BillingOverviewState(LivePage, SessionState):
    """The current plan, what comes next, what can be bought, and the history."""

    has_plan: rx.Field[bool] = rx.field(False)
    no_plan: rx.Field[Message] = rx.field(default_factory=Message)
    plan_details: rx.Field[PlanDetails] = rx.field(default_factory=PlanDetails)
    warning: rx.Field[Message] = rx.field(default_factory=Message)
    debits: rx.Field[list[Message]] = rx.field(default_factory=list)
    queue: rx.Field[list[PlanRow]] = rx.field(default_factory=list)
    renewal_note: rx.Field[str] = rx.field("")
    nothing_follows: rx.Field[bool] = rx.field(False)
    history: rx.Field[list[PlanRow]] = rx.field(default_factory=list)
    page_number: rx.Field[int] = rx.field(1)
    has_older: rx.Field[bool] = rx.field(False)
    terms: rx.Field[SubscriptionTerms] = rx.field(default_factory=SubscriptionTerms)
    interval: rx.Field[str] = rx.field(Interval.MONTH.value)
    has_intervals: rx.Field[bool] = rx.field(False)
    offers: rx.Field[list[OfferItem]] = rx.field(default_factory=list)
    packs: rx.Field[list[OfferItem]] = rx.field(default_factory=list)
    limit: rx.Field[LimitView] = rx.field(default_factory=LimitView)
    top_up: rx.Field[TopUpItem] = rx.field(default_factory=TopUpItem)
    can_pay: rx.Field[bool] = rx.field(True)
    is_taxed: rx.Field[bool] = rx.field(False)
    checkout_message: rx.Field[Message] = rx.field(default_factory=Message)
    forgets_checkout: rx.Field[bool] = rx.field(False)
    invoices: rx.Field[list[InvoiceRow]] = rx.field(default_factory=list)
    invoice_page: rx.Field[int] = rx.field(1)
    has_older_invoices: rx.Field[bool] = rx.field(False)
    _cursors: tuple[str, ...] = ()
    _next_cursor: str | None = None
    _invoice_cursors: tuple[str, ...] = ()
    _next_invoice_cursor: str | None = None
    _listed: str = ""
    _chosen_interval: str = ""
    _has_open_checkout: bool = False
    _returned: tuple[datetime, datetime] | None = None

    @rx.event
    async def show_older(self) -> None:
        """The next page of the history."""
        if self._next_cursor is not None:
            self._cursors = (*self._cursors, self._next_cursor)
            await self._refresh()

    @rx.event
    async def show_newer(self) -> None:
        """The page before."""
        if self._cursors:
            self._cursors = self._cursors[:-1]
            await self._refresh()

    @rx.event
    async def show_older_invoices(self) -> None:
        """The next page of the invoices."""
        if self._next_invoice_cursor is not None:
            self._invoice_cursors = (*self._invoice_cursors, self._next_invoice_cursor)
            await self._refresh()

    @rx.event
    async def show_newer_invoices(self) -> None:
        """The page before."""
        if self._invoice_cursors:
            self._invoice_cursors = self._invoice_cursors[:-1]
            await self._refresh()

    @rx.event
    async def choose_interval(self, interval: str) -> None:
        """Show monthly or yearly offers."""
        if interval in payments.INTERVALS:
            self._chosen_interval = interval
            await self._refresh()

    @rx.event
    def dismiss(self) -> EventSpec:
        """Hide the result of the checkout, and remove it from the address."""
        self.checkout_message = Message()
        return rx.redirect(routes.OVERVIEW, replace=True)

    def _background_events(self) -> list[EventCallback[()]]:
        is_awaited = self._has_open_checkout or self._checkout_answer() == "done"
        settle = [OfferDialogState.settle_checkout] if is_awaited else []
        return [*shown_once(), CardState.ask, SupportState.ask, *settle]

    def _checkout_answer(self) -> str:
        answer = self.router.url.query_parameters.get("checkout", "")
        return answer if answer in CHECKOUT_ANSWERS else ""

    async def _read(self, actor: PersonActor, account: AccountChoice) -> None:
        now = datetime.now(UTC)
        if self._listed != account.account_id:
            self._listed, self._chosen_interval = account.account_id, ""
            self._cursors = self._invoice_cursors = ()
        summary = await read_summary(get_services().database, actor, account.account_id, now)
        current = summary.current
        today = now.date()
        days = Days(today - timedelta(days=usage.PACE_DAYS - 1), today)
        rows = await self._read_daily(actor, account, days, GroupBy.DAY)
        pace = await read_pace(get_services().database, actor, summary, rows)
        self._show(
            has_plan=current.plan is not None,
            no_plan=no_plan(is_personal=account.kind == PERSONAL),
            plan_details=plan_details(summary),
            warning=warning_of(summary, pace),
            debits=debit_messages(summary),
            terms=payments.terms_of(summary),
            queue=[plan_row(plan) for plan in summary.queue],
        )
        if summary.debits:
            (await self.get_state(OfferDialogState)).drop_asked()
        await self._read_history(actor, account, now)
        await self._read_offers(actor, account, summary)
        await self._read_invoices(actor, account)

    async def _read_history(
        self, actor: PersonActor, account: AccountChoice, now: datetime
    ) -> None:
        history = await plans.read_history(
            get_services().database,
            actor,
            account.account_id,
            now=now,
            limit=HISTORY_ROWS,
            cursor=self._cursors[-1] if self._cursors else None,
        )
        self._next_cursor = history.next_cursor
        self._show(
            history=[plan_row(plan) for plan in history.items],
            page_number=len(self._cursors) + 1,
            has_older=history.next_cursor is not None,
        )

    async def _read_offers(
        self, actor: PersonActor, account: AccountChoice, summary: AccountSummary
    ) -> None:
        services, account_id = get_services(), account.account_id
        subscription = summary.subscription
        offers = await catalogue.list_offers(services.database)
        checkout = await services.subscriptions.last_checkout(actor, account_id)
        purchase_state = payments.PurchaseState(subscription, checkout, summary.unpaid_start)
        self._has_open_checkout = checkout is not None and checkout.status in OPEN
        intervals = {str(offer.interval) for offer in offers if offer.is_subscription}
        interval = self._chosen_interval or payments.interval_of(subscription, intervals)
        top_up = await services.top_ups.read(actor, account_id, summary.at)
        packs = [offer for offer in offers if not offer.is_subscription]
        shown = payments.offers_shown(offers, subscription)
        items = {offer: payments.offer_item(offer, purchase_state) for offer in shown}
        tops_up = top_up is not None and top_up.stopped_because is None
        self._show(
            renewal_note=payments.renewal_note(summary, tops_up=tops_up),
            nothing_follows=nothing_follows(summary),
            limit=spending_limit_views.limit_view(summary.current.overage),
            top_up=spending_limit_views.top_up_item(top_up, packs),
            interval=interval,
            has_intervals=len(intervals) > 1,
            offers=[item for offer, item in items.items() if offer.interval == interval],
            packs=[items[offer] for offer in packs],
            can_pay=services.settings.stripe_secret_key is not None,
            is_taxed=services.settings.stripe_tax,
        )
        self._show_checkout(checkout, summary)

    def _show_checkout(self, checkout: CheckoutView | None, summary: AccountSummary) -> None:
        """The wait for a confirmation counts from when they came back, over all reloads."""
        answer = self._checkout_answer()
        returned = (checkout.created_at if checkout else summary.at, summary.at)
        if self._returned is None or self._returned[0] != returned[0]:
            self._returned = returned if answer else None
        returned_at = (self._returned or returned)[1]
        told = payments.checkout_notice(answer, checkout, summary, returned_at=returned_at)
        is_final = told.tone in ("good", "warning") or answer == "left"
        self._show(checkout_message=told, forgets_checkout=told.title != "" and is_final)

    async def _read_invoices(self, actor: PersonActor, account: AccountChoice) -> None:
        page = await list_invoices(
            get_services().database,
            actor,
            account.account_id,
            limit=INVOICE_ROWS,
            cursor=self._invoice_cursors[-1] if self._invoice_cursors else None,
        )
        self._next_invoice_cursor = page.next_cursor
        self._show(
            invoices=[payments.invoice_row(invoice) for invoice in page.items],
            invoice_page=len(self._invoice_cursors) + 1,
            has_older_invoices=page.next_cursor is not None,
        )
