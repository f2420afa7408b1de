"""Offers to begin with, and a service that provisions."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import httpx
import pytest

from billing_app.billing.offers.catalogue import OfferTerms, publish_offer
from billing_app.db.engine import Database
from billing_app.db.enums import Interval, Scope
from tests.api.server import ApiServer
from tests.factories import OPERATOR, api_key

PROVISIONING: Final = (
    Scope.ACCOUNTS,
    Scope.EXECUTIONS,
    Scope.PLANS_READ,
    Scope.PLANS_WRITE,
)
OFFERS: Final = {
    "free": OfferTerms("Free", "", 500, 0, "USD", Interval.MONTH),
    "hobby": OfferTerms("Hobby", "", 50, 0, "USD", Interval.MONTH),
    "team-trial": OfferTerms("Team", "", 3_000, 1_900, "USD", Interval.MONTH, trial_days=14),
    "paid": OfferTerms("Paid", "", 5_000, 1_900, "USD", Interval.MONTH),
}


@pytest.fixture(scope="session")
async def offers(api_database_url: str) -> None:
    database = Database(api_database_url)
    for code, terms in OFFERS.items():
        await publish_offer(database, OPERATOR, code=code, terms=terms, now=datetime.now(UTC))
    await database.dispose()


@pytest.fixture(scope="session")
def product(
    server: ApiServer,
    api_database_url: str,
    offers: None,
) -> Iterator[httpx.Client]:
    """A product with a key of the platform."""
    headers = {"Authorization": f"Bearer {api_key(api_database_url, *PROVISIONING)}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=20) as client:
        yield client
