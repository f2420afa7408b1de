"""A run through a payment provider's account: what is there first, then page by page."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from billing_app.billing.errors import BillingError, CannotDecideError
from billing_app.billing.imports.foreign import ForeignAccount
from billing_app.billing.imports.price_plans import PriceMap, PricePlan
from billing_app.billing.imports.subscription_plans import (
    Keys,
    SubscriptionPlan,
    Survey,
    plan_subscription,
)
from billing_app.billing.imports.subscriptions import Standing, SubscriptionImporter, standings
from billing_app.billing.subscriptions.installation import ProviderNotAdoptedError
from billing_app.billing.subscriptions.provider_errors import PaymentProviderUnavailableError

# Customers that are taken at once.
AT_ONCE: Final = 8
# Not about one customer: they stop the run.
STOPS: Final = (PaymentProviderUnavailableError, ProviderNotAdoptedError, CannotDecideError)


class Result(StrEnum):
    """KNOWN: imported before, or made by us. NOT_TAKEN: the problem says why."""

    TAKEN = "taken"
    KNOWN = "known"
    NOT_TAKEN = "not_taken"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`problem` "": none."""

    plan: SubscriptionPlan
    result: Result
    problem: str = ""


async def survey_account(
    account: ForeignAccount, keys: Keys, seen: Callable[[int], None]
) -> Survey:
    """`seen` is told how many subscriptions were read. Raises what the provider raises."""
    survey = Survey(keys)
    after: str | None = None
    while True:
        page = await account.live_subscriptions(after)
        for subscription in page.subscriptions:
            survey.add(subscription)
        seen(survey.subscriptions)
        after = page.last
        if after is None:
            break
    while True:
        invoices = await account.open_invoices(after)
        for invoice in invoices.invoices:
            survey.add_open(invoice)
        after = invoices.last
        if after is None:
            return survey


@dataclass(frozen=True, slots=True)
class ImportRun:
    importer: SubscriptionImporter
    survey: Survey
    prices: Mapping[str, PricePlan]
    price_map: PriceMap
    applies: bool
    clock: Callable[[], datetime]

    async def pages(self) -> AsyncGenerator[list[Outcome]]:
        """Page by page. Raises what stops a run: it goes on when it is started again."""
        after: str | None = None
        while True:
            page = await self.importer.account.live_subscriptions(after)
            plans = [
                plan_subscription(each, self.prices, self.survey, self.price_map)
                for each in page.subscriptions
            ]
            yield await self._page(plans)
            after = page.last
            if after is None:
                return

    async def _page(self, plans: list[SubscriptionPlan]) -> list[Outcome]:
        known = await standings(self.importer.database, plans)
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(plan: SubscriptionPlan) -> Outcome:
            async with turns:
                return await self._one(plan, known[plan.subscription.subscription_id])

        # All of them end, also when one stops the run: none is cut off between two writes.
        ended = await asyncio.gather(*map(one, plans), return_exceptions=True)
        return [_result(each) for each in ended]

    async def _one(self, plan: SubscriptionPlan, standing: Standing) -> Outcome:
        if standing is Standing.OURS:
            return Outcome(plan, Result.KNOWN)
        if plan.problem:
            return Outcome(plan, Result.NOT_TAKEN, plan.problem)
        try:
            if standing is Standing.UNKNOWN:
                await self.importer.check(plan)
            if self.applies:
                await self.importer.take(plan, self.clock())
        except STOPS:
            raise
        except BillingError as error:
            return Outcome(plan, Result.NOT_TAKEN, str(error))
        return Outcome(plan, Result.TAKEN)


def _result(ended: Outcome | BaseException) -> Outcome:
    if isinstance(ended, BaseException):
        raise ended
    return ended
