"""The app's one meter at Stripe: it counts overage executions by customer.

Source: docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api
"""

from datetime import datetime
from typing import Any, Final

from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderFailedError,
)
from billing_app.payments.calls import PAGE_SIZE, StripeCalls, all_rows, options, send

METER_EVENT: Final = "billing_overage_executions"
# Stripe gives no code when it rejects an identifier it has already seen.
SEEN_BEFORE: Final = "event already exists with identifier"


class Meters(StripeCalls):
    async def report_usage(
        self, *, customer_id: str, executions: int, identifier: str, at: datetime
    ) -> None:
        """Add to the meter, or subtract. An identifier that Stripe has already seen counts once."""
        mark = await self.mark()
        body: dict[str, Any] = {
            "event_name": METER_EVENT,
            "identifier": f"{mark}:{identifier}" if mark else identifier,
            "timestamp": int(at.timestamp()),
            "payload": {"stripe_customer_id": customer_id, "value": str(executions)},
        }
        events = self.client.v1.billing.meter_events
        try:
            await send(lambda: events.create_async(body, options(identifier)))  # pyright: ignore[reportArgumentType]
        except PaymentProviderFailedError as error:
            if SEEN_BEFORE not in error.detail:
                raise

    async def metered_usage(self, customer_id: str, start: datetime, end: datetime) -> int:
        """What the meter counted in [start, end), both at full minutes."""
        meter_id = await self.meter_id()
        if meter_id is None:
            return 0
        query = {
            "customer": customer_id,
            "start_time": int(start.timestamp()),
            "end_time": int(end.timestamp()),
        }
        summaries = self.client.v1.billing.meters.event_summaries
        rows = await all_rows(lambda: summaries.list_async(meter_id, query))  # pyright: ignore[reportArgumentType]
        return round(sum(row.aggregated_value for row in rows))

    async def meter_id(self) -> str | None:
        """None: no offer with a soft limit was ever sold."""
        meters = self.client.v1.billing.meters
        rows = await all_rows(lambda: meters.list_async({"status": "active", "limit": PAGE_SIZE}))
        return next((row.id for row in rows if row.event_name == METER_EVENT), None)

    async def make_meter(self) -> str:
        body: dict[str, Any] = {
            "display_name": "Executions beyond the plan",
            "event_name": METER_EVENT,
            "default_aggregation": {"formula": "sum"},
        }
        meters = self.client.v1.billing.meters
        key = f"meter-{METER_EVENT}"
        made = await send(lambda: meters.create_async(body, options(key)))  # pyright: ignore[reportArgumentType]
        return made.id
