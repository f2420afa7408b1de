"""What buying with the method on file would charge today, told before somebody agrees to it."""

from dataclasses import dataclass
from datetime import datetime

from billing_app.billing.accounts.service import authorize_managing
from billing_app.billing.actors import Actor
from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.subscriptions.errors import QuoteOutdatedError
from billing_app.billing.subscriptions.offer_prices import ensure_price
from billing_app.billing.subscriptions.provider import (
    OfferPrices,
    PaymentProvider,
    ProviderPaymentMethod,
)
from billing_app.db.engine import Database
from billing_app.db.tables import ProviderCustomer


@dataclass(frozen=True, slots=True)
class AgreedSubscription:
    """What somebody agreed to: this version of an offer, `due_minor` today or after the trial,
    charged to this payment method."""

    offer: OfferView
    payment_method_id: str
    due_minor: int
    trial_days: int


async def charge_minor(
    database: Database,
    provider: PaymentProvider,
    actor: Actor,
    account_id: str,
    offer: OfferView,
    now: datetime,
) -> int:
    """In minor units: the price, or what the provider says of its customer: tax, discounts, credit
    and, on a subscription's first invoice, items that wait for one. Without a trial.

    Raises AccountNotFoundError, ForbiddenError, BillingAddressMissingError and what the provider
    raises.
    """
    async with database.reading() as session:
        account = await authorize_managing(session, actor, account_id)
        customer = await session.get(ProviderCustomer, account.id)
    if customer is None:
        return offer.price_minor
    price = await ensure_price(database, provider, offer, now)
    return (await charge_of(provider, customer.customer_id, offer, price)).minor


async def charge_of(
    provider: PaymentProvider, customer_id: str, offer: OfferView, price: OfferPrices
) -> Money:
    """The same for a customer. Raises BillingAddressMissingError and what the provider raises."""
    preview = await provider.preview_purchase(
        customer_id=customer_id, prices=price, is_subscription=offer.is_subscription
    )
    return Money(preview.amount_due_minor, preview.currency)


async def require_agreed(
    provider: PaymentProvider,
    agreed: AgreedSubscription | None,
    offer: OfferView,
    method: ProviderPaymentMethod | None,
) -> None:
    """Raises PaymentMethodMissingError when the agreed card is gone, QuoteOutdatedError when
    another one is on file or another version is sold."""
    if agreed is None:
        return
    if method is None or method.provider_id != agreed.payment_method_id:
        await provider.require_card(agreed.payment_method_id)
        raise QuoteOutdatedError(offer=offer.code)
    if offer.version_id != agreed.offer.version_id:
        raise QuoteOutdatedError(offer=offer.code)


async def require_agreed_charge(
    provider: PaymentProvider,
    customer_id: str,
    bought: tuple[OfferView, OfferPrices],
    due_minor: int | None,
) -> None:
    """Raises QuoteOutdatedError when buying would charge something else by now, and as `charge_of`.
    None: nobody was told the charge."""
    offer, price = bought
    if due_minor is None:
        return
    if (await charge_of(provider, customer_id, offer, price)).minor != due_minor:
        raise QuoteOutdatedError(offer=offer.code)
