"""Subscriptions: begin, preview, change, cancel, resume.

No transaction is open while the provider is asked. What the provider did is applied at once from
freshly fetched facts; webhooks and reconciliation apply the same facts again without harm.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts import authorize_managing
from billing_app.billing.actors import Actor
from billing_app.billing.catalogue import OfferView, find_offer, offer_version
from billing_app.billing.errors import ConflictError, InvalidInputError, NotFoundError
from billing_app.billing.subscriptions import apply
from billing_app.billing.subscriptions.customers import ensure_customer, ensure_price
from billing_app.billing.subscriptions.provider import (
    Credit,
    InvoiceFacts,
    PaymentProvider,
    PreviewLine,
    SubscriptionFacts,
)
from billing_app.billing.subscriptions.rules import (
    credit_for,
    require_change_now,
    require_other_offer,
)
from billing_app.billing.subscriptions.writes import CHANGE_NOW, write
from billing_app.db.engine import Database
from billing_app.db.tables import Account, Checkout, Plan, Subscription
from billing_app.db.words import (
    CheckoutStatus,
    PlanSource,
    SubscriptionStatus,
    When,
)

SUBSCRIPTION = "sub_"
ENDED = (SubscriptionStatus.CANCELED, SubscriptionStatus.INCOMPLETE_EXPIRED)


class SubscriptionNotFoundError(NotFoundError):
    code = "subscription_not_found"
    title = "No such subscription"


class SubscriptionExistsError(ConflictError):
    code = "subscription_exists"
    title = "There is a subscription already"


class SubscriptionEndedError(ConflictError):
    code = "subscription_ended"
    title = "The subscription has ended"


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """A subscription as its holder sees it."""

    id: str
    account_id: str
    status: SubscriptionStatus
    offer: OfferView
    next_offer: OfferView | None
    period_start: datetime
    period_end: datetime
    cancel_at_period_end: bool
    past_due_since: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Begun:
    """Either the subscription, charged to the card on file, or where to pay."""

    subscription: SubscriptionView | None
    checkout_url: str | None


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """What changing now would cost, to the minor unit, and what happens to the executions."""

    offer: OfferView
    currency: str
    amount_due_minor: int
    credit_minor: int
    executions_unused: int
    executions_after: int
    lines: list[PreviewLine]


class Subscriptions:
    def __init__(self, database: Database, provider: PaymentProvider, *, grace_days: int) -> None:
        self._database = database
        self._provider = provider
        self._grace_days = grace_days

    async def read(self, actor: Actor, account_id: str) -> SubscriptionView | None:
        """The live subscription of an account, or None. Asks nobody but the database."""
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id, reading=True)
            row = await _live(session, account.id)
            return await _view(session, row) if row else None

    async def begin(
        self,
        actor: Actor,
        account_id: str,
        *,
        offer_code: str,
        success_url: str,
        cancel_url: str,
        now: datetime,
    ) -> Begun:
        """Subscribe, or buy a pack: at once with the card on file, else through a checkout.

        Raises OfferUnknownError, SubscriptionExistsError, PaymentDeclinedError and what the
        provider raises. Asked again, an open checkout of the same offer is given again.
        """
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id)
            offer = await find_offer(session, offer_code)
            if offer.is_subscription and await _live(session, account.id):
                raise SubscriptionExistsError
        customer_id = await ensure_customer(self._database, self._provider, account, now)
        price_id = await ensure_price(self._database, self._provider, offer, now)
        has_card = await self._provider.payment_method(customer_id) is not None
        if offer.is_subscription and has_card:
            facts = await self._subscribe(account, offer, customer_id, price_id, now)
            return Begun(subscription=await self.absorb(facts, now), checkout_url=None)
        url = await self._check_out(
            account, offer, customer_id, price_id, (success_url, cancel_url), now
        )
        return Begun(subscription=None, checkout_url=url)

    async def preview(
        self, actor: Actor, subscription_id: str, *, offer_code: str, now: datetime
    ) -> ChangePreview:
        """Raises SubscriptionNotFoundError, SameOfferError, ChangeLosesValueError, …"""
        row, old, new, plan = await self._for_change(actor, subscription_id, offer_code)
        unused = _unused(plan, now)
        credit = credit_for(old, bought=plan.executions if plan else 0, unused=unused)
        require_change_now(old, new, credit)
        price_id = await ensure_price(self._database, self._provider, new, now)
        facts = await self._provider.preview_change(
            subscription_id=row.provider_id, price_id=price_id, credit=credit
        )
        return ChangePreview(
            offer=new,
            currency=facts.currency,
            amount_due_minor=facts.amount_due_minor,
            credit_minor=credit.amount_minor if credit else 0,
            executions_unused=unused,
            executions_after=new.executions,
            lines=facts.lines,
        )

    async def change(
        self, actor: Actor, subscription_id: str, *, offer_code: str, when: When, now: datetime
    ) -> SubscriptionView:
        """Change now (charged at once, a new period begins) or when the period ends."""
        row, old, new, plan = await self._for_change(actor, subscription_id, offer_code)
        require_other_offer(old, new)
        price_id = await ensure_price(self._database, self._provider, new, now)
        if when is When.PERIOD_END:
            return await self._write(
                row,
                "change_at_period_end",
                {"target": new.version_id},
                lambda key, _: self._provider.change_at_period_end(
                    subscription_id=row.provider_id, price_id=price_id, key=key
                ),
                now,
            )
        unused = _unused(plan, now)
        credit = credit_for(old, bought=plan.executions if plan else 0, unused=unused)
        require_change_now(old, new, credit)
        parameters = {
            "target": new.version_id,
            "plan_sequence": plan.sequence if plan else 0,
            "unused": unused,
            "credit": _credit_json(credit),
        }
        return await self._write(
            row,
            CHANGE_NOW,
            parameters,
            lambda key, kept: self._provider.change_now(
                subscription_id=row.provider_id,
                price_id=price_id,
                credit=_credit_of(kept["credit"]),
                key=key,
            ),
            now,
        )

    async def cancel(
        self, actor: Actor, subscription_id: str, *, when: When, now: datetime
    ) -> SubscriptionView:
        """End it when the period ends, or at once: then its unused executions are lost."""
        row = await self._managed(actor, subscription_id)
        act = self._provider.cancel_now if when is When.NOW else self._provider.cancel_at_period_end
        return await self._write(
            row, f"cancel_{when}", {}, lambda key, _: act(row.provider_id, key=key), now
        )

    async def resume(
        self, actor: Actor, subscription_id: str, *, now: datetime
    ) -> SubscriptionView:
        """Take back a cancellation or a change that waits for the end of the period."""
        row = await self._managed(actor, subscription_id)
        return await self._write(
            row, "resume", {}, lambda key, _: self._provider.resume(row.provider_id, key=key), now
        )

    async def portal_url(
        self, actor: Actor, account_id: str, *, return_url: str, now: datetime
    ) -> str:
        """The provider's page for cards and invoices, for the account's own customer."""
        async with self._database.reading() as session:
            account = await authorize_managing(session, actor, account_id)
        customer_id = await ensure_customer(self._database, self._provider, account, now)
        return await self._provider.portal_url(customer_id=customer_id, return_url=return_url)

    async def sync_subscription(self, provider_id: str, now: datetime) -> SubscriptionView | None:
        """Fetch a subscription with its latest invoice and apply both; None: not ours."""
        return await self.absorb(await self._provider.subscription(provider_id), now)

    async def sync_invoice(self, provider_id: str, now: datetime) -> None:
        """Fetch an invoice, and its subscription, and apply both."""
        facts = await self._provider.invoice(provider_id)
        if facts.subscription_id:
            await self.sync_subscription(facts.subscription_id, now)
        await self.absorb_invoice(facts, now)

    async def sync_checkout(self, provider_id: str, now: datetime) -> None:
        """Fetch a checkout, and the subscription that it made, and apply both."""
        facts = await self._provider.checkout(provider_id)
        async with self._database.transaction() as session:
            await apply.apply_checkout(session, facts)
        if facts.subscription_id:
            await self.sync_subscription(facts.subscription_id, now)

    async def absorb(self, facts: SubscriptionFacts, now: datetime) -> SubscriptionView | None:
        """Apply a subscription and its latest invoice; None when it is not ours."""
        invoice = (
            await self._provider.invoice(facts.latest_invoice_id)
            if facts.latest_invoice_id
            else None
        )
        async with self._database.transaction() as session:
            row = await apply.apply_subscription(session, facts, now)
            if invoice is not None:
                await apply.apply_invoice(session, invoice, grace_days=self._grace_days, now=now)
            return await _view(session, row) if row else None

    async def absorb_invoice(self, facts: InvoiceFacts, now: datetime) -> None:
        async with self._database.transaction() as session:
            await apply.apply_invoice(session, facts, grace_days=self._grace_days, now=now)

    async def _subscribe(
        self,
        account: Account,
        offer: OfferView,
        customer_id: str,
        price_id: str,
        now: datetime,
    ) -> SubscriptionFacts:
        return await write(
            self._database,
            account_id=account.id,
            operation="subscribe",
            parameters={"target": offer.version_id},
            now=now,
            act=lambda key, _: self._provider.create_subscription(
                customer_id=customer_id, price_id=price_id, key=key
            ),
            result_id=lambda facts: facts.provider_id,
        )

    async def _check_out(
        self,
        account: Account,
        offer: OfferView,
        customer_id: str,
        price_id: str,
        urls: tuple[str, str],
        now: datetime,
    ) -> str:
        row = await self._open_checkout(account, offer, urls, now)
        if row.url is not None:
            return row.url
        facts = await self._provider.create_checkout(
            customer_id=customer_id,
            price_id=price_id,
            is_subscription=offer.is_subscription,
            success_url=row.success_url,
            cancel_url=row.cancel_url,
            key=f"checkout-{row.account_id:x}-{row.number:x}",
        )
        async with self._database.transaction() as session:
            kept = await session.get(Checkout, (row.account_id, row.number))
            assert kept is not None
            kept.status = CheckoutStatus(facts.status)
            kept.provider_id = facts.provider_id
            kept.url = facts.url
            session.add(kept)
        return facts.url or row.cancel_url

    async def _open_checkout(
        self, account: Account, offer: OfferView, urls: tuple[str, str], now: datetime
    ) -> Checkout:
        """The account's one open checkout: the one that is there when it fits, else a new one."""
        existing = await self._existing_checkout(account.id)
        if existing is not None and existing.provider_id is not None:
            facts = await self._provider.checkout(existing.provider_id)
            fits = existing.offer_version_id == offer.version_id
            if facts.status == CheckoutStatus.OPEN and not fits:
                facts = await self._provider.expire_checkout(existing.provider_id)
            await self.sync_checkout(facts.provider_id, now)
            if facts.status == CheckoutStatus.OPEN:
                return existing
            if facts.status == CheckoutStatus.COMPLETE and offer.is_subscription:
                raise SubscriptionExistsError
        elif existing is not None:
            return existing
        return await self._new_checkout(account.id, offer, urls, now)

    async def _existing_checkout(self, account_number: int) -> Checkout | None:
        query = (
            select(Checkout)
            .where(Checkout.account_id == account_number)
            .where(col(Checkout.status).in_((CheckoutStatus.CREATING, CheckoutStatus.OPEN)))
        )
        async with self._database.reading() as session:
            return (await session.exec(query)).first()

    async def _new_checkout(
        self, account_number: int, offer: OfferView, urls: tuple[str, str], now: datetime
    ) -> Checkout:
        async with self._database.transaction() as session:
            await session.get(Account, account_number, with_for_update=True)
            query = (
                select(Checkout)
                .where(Checkout.account_id == account_number)
                .where(col(Checkout.status).in_((CheckoutStatus.CREATING, CheckoutStatus.OPEN)))
            )
            raced = (await session.exec(query)).first()
            if raced is not None:
                return raced
            row = Checkout(
                account_id=account_number,
                number=int(now.timestamp() * 1_000_000),
                status=CheckoutStatus.CREATING,
                offer_version_id=offer.version_id,
                success_url=urls[0],
                cancel_url=urls[1],
                created_at=now,
            )
            session.add(row)
        return row

    async def _write(
        self,
        row: Subscription,
        operation: str,
        parameters: dict[str, Any],
        act: Callable[[str, dict[str, Any]], Awaitable[SubscriptionFacts]],
        now: datetime,
    ) -> SubscriptionView:
        facts = await write(
            self._database,
            account_id=row.account_id,
            operation=operation,
            parameters=parameters | {"target": f"{row.provider_id} {parameters.get('target', '')}"},
            now=now,
            act=act,
            result_id=lambda found: found.provider_id,
        )
        view = await self.absorb(facts, now)
        assert view is not None
        return view

    async def _for_change(
        self, actor: Actor, subscription_id: str, offer_code: str
    ) -> tuple[Subscription, OfferView, OfferView, Plan | None]:
        row = await self._managed(actor, subscription_id)
        async with self._database.reading() as session:
            old = await offer_version(session, row.offer_version_id)
            new = await find_offer(session, offer_code)
            if not new.is_subscription:
                raise InvalidInputError("A pack is bought, not changed to.", field="offer")
            query = (
                select(Plan)
                .where(Plan.account_id == row.account_id)
                .where(Plan.source == PlanSource.SUBSCRIPTION)
                .where(Plan.ends_at == row.period_end)
                .where(col(Plan.ended_at).is_(None))
                .order_by(col(Plan.sequence).desc())
            )
            plan = (await session.exec(query)).first()
        return row, old, new, plan

    async def _managed(self, actor: Actor, subscription_id: str) -> Subscription:
        pair = ids.decode(SUBSCRIPTION, subscription_id)
        if pair is None:
            raise SubscriptionNotFoundError
        async with self._database.reading() as session:
            row = await session.get(Subscription, pair)
            if row is None:
                raise SubscriptionNotFoundError
            try:
                account_id = ids.encode_account(row.account_id)
                await authorize_managing(session, actor, account_id)
            except NotFoundError:
                raise SubscriptionNotFoundError from None
        if row.status in ENDED:
            raise SubscriptionEndedError
        return row


def _unused(plan: Plan | None, now: datetime) -> int:
    if plan is None or (plan.ends_at is not None and plan.ends_at <= now):
        return 0
    return plan.executions - plan.used - plan.held


def _credit_json(credit: Credit | None) -> dict[str, Any] | None:
    if credit is None:
        return None
    return {
        "amount_minor": credit.amount_minor,
        "currency": credit.currency,
        "description": credit.description,
    }


def _credit_of(kept: dict[str, Any] | None) -> Credit | None:
    return Credit(**kept) if kept else None


async def _live(session: AsyncSession, account_number: int) -> Subscription | None:
    query = (
        select(Subscription)
        .where(Subscription.account_id == account_number)
        .where(col(Subscription.status).not_in(ENDED))
    )
    return (await session.exec(query)).first()


async def _view(session: AsyncSession, row: Subscription) -> SubscriptionView:
    following = row.next_offer_version_id
    return SubscriptionView(
        id=ids.encode(SUBSCRIPTION, row.account_id, row.number),
        account_id=ids.encode_account(row.account_id),
        status=SubscriptionStatus(row.status),
        offer=await offer_version(session, row.offer_version_id),
        next_offer=await offer_version(session, following) if following else None,
        period_start=row.period_start,
        period_end=row.period_end,
        cancel_at_period_end=row.cancel_at_period_end,
        past_due_since=row.past_due_since,
        ended_at=row.ended_at,
    )
