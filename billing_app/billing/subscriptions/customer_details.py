"""The provider's customer gets the account's billing details, and always the newest.

Whoever sends them looks again afterwards: if they, or the customer, changed meanwhile, they are
sent once more. So what arrives last is what was true after it arrived.
"""

from dataclasses import dataclass
from typing import Final

from billing_app.billing import ids
from billing_app.billing.accounts.billing_details import CustomerDetails, details_of
from billing_app.billing.errors import ConflictError
from billing_app.billing.subscriptions.provider import PaymentProvider
from billing_app.billing.subscriptions.provider_errors import NotAtProviderError
from billing_app.db.engine import Database
from billing_app.db.tables import Account, ProviderCustomer

ATTEMPTS: Final = 5


class DetailsChangingError(ConflictError):
    """They changed each time while they were sent; trying again helps."""

    code = "details_changing"
    title = "The customer's details keep changing"


@dataclass(frozen=True, slots=True)
class SentDetails:
    """What the provider's customer has, or should have."""

    customer_id: str
    details: CustomerDetails


async def send_details(
    database: Database,
    provider: PaymentProvider,
    account_id: int,
    *,
    known: SentDetails | None = None,
) -> None:
    """Send until the customer has what the account has; `known`: what it has already.

    Nothing to do without a customer, or for a deleted one: a new one is created with the newest
    details. Each request has a key of its own, because an answer that is replayed would hide a
    change in between. Raises what the provider raises, and DetailsChangingError.
    """
    sent, deleted_id = known, ""
    for _ in range(ATTEMPTS):
        wanted = await _read(database, account_id)
        if wanted is None or wanted == sent or wanted.customer_id == deleted_id:
            return
        details = wanted.details
        key = ids.new_id(f"customer-details-{ids.encode_account(account_id)}-")
        try:
            await provider.update_customer(
                wanted.customer_id,
                name=details.name,
                email=details.email,
                purchase_order=details.purchase_order,
                key=key,
            )
        except NotAtProviderError:
            deleted_id = wanted.customer_id
        else:
            sent = wanted
    raise DetailsChangingError


async def _read(database: Database, account_id: int) -> SentDetails | None:
    async with database.reading() as session:
        row = await session.get(ProviderCustomer, account_id)
        if row is None:
            return None
        account = await session.get_one(Account, account_id)
        return SentDetails(row.customer_id, await details_of(session, account))
