"""The account's one customer at the provider, created when first needed.

The key is derived from the account, so two racing requests get the same customer. Nothing is
ever matched by e-mail address. Details that change meanwhile are sent once the customer is known.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from functools import partial

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, update

from billing_app.billing import ids
from billing_app.billing.accounts.billing_details import CustomerDetails, details_of
from billing_app.billing.subscriptions.customer_details import SentDetails, send_details
from billing_app.billing.subscriptions.installation import own_marks
from billing_app.billing.subscriptions.provider import (
    OurCustomer,
    PaymentProvider,
    ProviderPaymentMethod,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
    ProviderKeyConflictError,
)
from billing_app.db.engine import Database
from billing_app.db.tables import (
    Account,
    ProviderCustomer,
    Subscription,
)


async def card_on_file(
    provider: PaymentProvider, customer: ProviderCustomer | None, live: Subscription | None = None
) -> ProviderPaymentMethod | None:
    """The card of the live subscription, else the customer's. None without one, and of a customer
    who was deleted at the provider."""
    if customer is None:
        return None
    subscription_id = live.provider_id if live else None
    with suppress(NotAtProviderError):
        return await provider.payment_method(customer.customer_id, subscription_id)
    return None


async def ensure_customer(
    database: Database, provider: PaymentProvider, account: Account, now: datetime
) -> str:
    """The customer's id at the provider."""
    async with database.reading() as session:
        row = await session.get(ProviderCustomer, account.id)
    if row is not None:
        return row.customer_id
    key = f"customer-{ids.encode_account(account.id)}"
    made = await _create(database, provider, account, key=key)
    await keep_customer(database, account.id, made.customer_id, now)
    await send_details(database, provider, account.id, known=made)
    return await _customer_id(database, account)


async def replace_customer(
    database: Database, provider: PaymentProvider, account: Account, *, deleted_id: str
) -> str:
    """A new customer for an account whose customer was deleted at the provider."""
    key = f"customer-{ids.encode_account(account.id)}-after-{deleted_id}"
    made = await _create(database, provider, account, key=key)
    row = update(ProviderCustomer).where(col(ProviderCustomer.customer_id) == deleted_id)
    async with database.transaction() as session:
        await session.exec(row.values(customer_id=made.customer_id))
    await send_details(database, provider, account.id, known=made)
    return await _customer_id(database, account)


async def _customer_id(database: Database, account: Account) -> str:
    async with database.reading() as session:
        row = await session.get(ProviderCustomer, account.id)
    assert row is not None
    return row.customer_id


async def _create(
    database: Database, provider: PaymentProvider, account: Account, *, key: str
) -> SentDetails:
    """The customer, or the one that an interrupted attempt created with earlier details."""
    async with database.reading() as session:
        details = await details_of(session, account)
        marks = await own_marks(session)
    account_id = ids.encode_account(account.id)
    name, email = details.name, details.email
    create = partial(provider.create_customer, account_id=account_id, name=name, email=email)
    try:
        return SentDetails(await create(key=key), CustomerDetails(name, email))
    except ProviderKeyConflictError:
        async for theirs in _our_customers(provider):
            if theirs.account_id == account_id and theirs.mark in marks:
                return SentDetails(theirs.customer_id, CustomerDetails(theirs.name, theirs.email))
    again = ids.new_id(f"{key}-")
    return SentDetails(await create(key=again), CustomerDetails(name, email))


async def _our_customers(provider: PaymentProvider) -> AsyncIterator[OurCustomer]:
    after: str | None = None
    while True:
        page = await provider.our_customers(after)
        for customer in page.customers:
            yield customer
        if not page.has_more or page.last is None:
            return
        after = page.last


async def keep_customer(
    database: Database, account_id: int, customer_id: str, now: datetime
) -> None:
    """Record the account's customer, unless it has one."""
    values = {"account_id": account_id, "customer_id": customer_id, "created_at": now}
    async with database.transaction() as session:
        await session.exec(insert(ProviderCustomer).values(values).on_conflict_do_nothing())  # pyright: ignore[reportCallIssue, reportArgumentType]
