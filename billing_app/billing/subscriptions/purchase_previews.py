"""What buying with the method on file would charge today, told before somebody agrees to it."""

from datetime import datetime

from billing_app.billing.accounts.service import authorize_managing
from billing_app.billing.actors import Actor
from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.subscriptions.offer_prices import ensure_price
from billing_app.billing.subscriptions.provider import OfferPrices, PaymentProvider
from billing_app.db.engine import Database
from billing_app.db.tables import ProviderCustomer


async def charge_minor(
    database: Database,
    provider: PaymentProvider,
    actor: Actor,
    account_id: str,
    offer: OfferView,
    now: datetime,
) -> int:
    """In minor units: the price, or what the provider says when it adds a tax. Without a trial.

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
    if not provider.computes_tax:
        return offer.price
    preview = await provider.preview_purchase(
        customer_id=customer_id, prices=price, is_subscription=offer.is_subscription
    )
    return Money(preview.amount_due_minor, preview.currency)
