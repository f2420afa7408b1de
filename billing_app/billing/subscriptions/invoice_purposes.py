"""What an invoice was for, in the words of the offers that it bills."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.subscriptions.provider import InvoiceLine, ProviderInvoice
from billing_app.db.tables import OfferPrice, OfferVersion

OVERAGE: Final = "Executions beyond the plan"
MAX_PARTS: Final = 3


class InvoicePurposes:
    """`names`: of offers, by price id. `metered`: the prices of executions beyond a plan."""

    def __init__(self, names: Mapping[str, str], metered: Collection[str]) -> None:
        self._names = names
        self._metered = metered

    def of(self, invoice: ProviderInvoice) -> str:
        """Offers with their periods, packs and overage: `2 x Pack; Executions beyond the plan`.
        Lines of others keep the provider's description; "" when nothing is billed."""
        lines = sorted(invoice.lines, key=lambda line: line.price_id not in self._names)
        parts = list(dict.fromkeys(part for line in lines if (part := self._part(line))))
        rest = len(parts) - MAX_PARTS
        more = [f"and {rest} more"] if rest > 0 else []
        return "; ".join([*parts[:MAX_PARTS], *more])

    def _part(self, line: InvoiceLine) -> str:
        if line.overage_of is not None or line.price_id in self._metered:
            return OVERAGE if line.amount_minor else ""
        name = self._names.get(line.price_id or "")
        if name is None or line.is_proration:
            return line.description if line.amount_minor else ""
        counted = name if line.quantity == 1 else f"{line.quantity} \N{MULTIPLICATION SIGN} {name}"
        if not line.is_period:
            return counted
        return f"{counted}, {_day(line.period_start)} \N{EN DASH} {_day(line.period_end)}"


async def invoice_purposes(session: AsyncSession, versions: Mapping[str, int]) -> InvoicePurposes:
    """`versions`: the offer versions of prices, by price id."""
    query = select(OfferVersion.id, OfferVersion.name)
    query = query.where(col(OfferVersion.id).in_(set(versions.values())))
    by_version = dict((await session.exec(query)).all())
    metered = select(OfferPrice.overage_price_id).where(
        col(OfferPrice.overage_price_id).is_not(None)
    )
    return InvoicePurposes(
        {price: by_version[version] for price, version in versions.items()},
        {price for price in await session.exec(metered) if price},
    )


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"
