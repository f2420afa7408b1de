"""Plays what happens to a subscription, on the checkout that is first on the path, and prints how
many requests it sent to Stripe: `python -P renewal_scene.py SERVER_URL INVOICES RENEWALS`.

The site runs as it does in production: API, worker and Stripe's sandbox as processes, webhooks over
HTTP. The sandbox sends a renewal in two parts, as Stripe does: the draft when the period ends, the
payment when it is finalized an hour later.
"""

import asyncio
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from billing_app.billing.offers.catalogue import publish_offer
from billing_app.composition import build_services
from billing_app.db import migrations
from billing_app.payments.call_metrics import operation
from tests.databases import create_database
from tests.factories import OPERATOR
from tests.payments.billing_harness import OFFERS, SECRET, payment_settings
from tests.payments.storefront import WEBHOOKS, Customer, Storefront
from tests.stripe_sandbox.running import Sandbox, free_port

MINUTE, HOUR, DAY = 60, 3_600, 86_400
MONTH_DAYS: Final = 31
PATIENCE_SECONDS: Final = 120
PAUSE_SECONDS: Final = 0.5
# What the scene itself asks for.
OURS: Final = ("POST /v1/refunds",)
BUSY: Final = """
    SELECT (SELECT count(*) FROM webhook_events WHERE state IN ('received', 'failed'))
         + (SELECT count(*) FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING'))
"""

Requests = dict[str, float]


class Scene:
    """One customer with one subscription."""

    def __init__(self, server_url: str) -> None:
        self.sandbox = Sandbox(free_port())
        url = create_database(server_url, f"renewals_{uuid.uuid4().hex[:8]}")
        migrations.upgrade(url)
        asyncio.run(_publish(self.sandbox, url))
        self.shop = Storefront(self.sandbox, url).start()
        self.customer: Customer = self.shop.customer().with_card()

    def close(self) -> None:
        self.shop.stop()
        self.sandbox.stop()

    def play(self, invoices: int, renewals: int) -> dict[str, Requests]:
        """Requests of each act, by operation. `invoices`: behind the account before the first."""
        counts = {"purchase": self.count(lambda: self.customer.subscribe("starter"))}
        self.pass_months(invoices - 1)
        self.catch_up()
        total: Counter[str] = Counter()
        for _ in range(renewals):
            total.update(self.count(self.renew))
        counts["renewal"] = {name: number / renewals for name, number in total.items()}
        counts["plan change"] = self.count(self.change)
        charge = self._last_charge()
        counts["refund"] = self.count(lambda: self.refund(charge))
        self.renew()
        charge = self._last_charge()
        counts["dispute"] = self.count(lambda: self.dispute(charge))
        return counts

    def count(self, act: Callable[[], Any]) -> Requests:
        self.settle()
        before = len(self.sandbox.requests())
        act()
        self.settle()
        made = [operation(row["method"], row["path"]) for row in self.sandbox.requests()[before:]]
        return dict(Counter(name for name in made if name not in OURS))

    def pass_months(self, months: int) -> None:
        """Renewals whose webhooks are not sent."""
        self._send_webhooks(["plan.created"])
        for _ in range(months):
            self.sandbox.control("clock", advance_seconds=MONTH_DAYS * DAY)
        self._send_webhooks(["*"])

    def renew(self) -> None:
        ((ends_at,),) = self.shop.rows("SELECT extract(epoch FROM period_end) FROM subscriptions")
        left = int(ends_at) - self._stripe_now()
        self.sandbox.control("clock", advance_seconds=max(0, left) + MINUTE)
        self.settle()
        self.sandbox.control("clock", advance_seconds=2 * HOUR)
        self.settle()

    def catch_up(self) -> None:
        """One renewal of which the webhooks are sent tells of those before it."""
        self.sandbox.control("clock", advance_seconds=MONTH_DAYS * DAY)
        self.settle()

    def change(self) -> None:
        answer = self.customer.put(self.customer.current()["id"], "growth", when="now")
        assert answer.status_code == 200, answer.text

    def refund(self, charge: str) -> None:
        self.shop.stripe.v1.refunds.create({"charge": charge})

    def dispute(self, charge: str) -> None:
        self.sandbox.control("disputes", charge=charge)

    def settle(self) -> None:
        """Until all webhooks are sent and processed."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        quiet = 0
        while quiet < 2:
            assert time.monotonic() < deadline, "the webhooks are not processed"
            self.sandbox.control("settle")
            ((busy,),) = self.shop.rows(BUSY)
            quiet = quiet + 1 if busy == 0 else 0
            time.sleep(PAUSE_SECONDS)

    def _send_webhooks(self, types: list[str]) -> None:
        url = self.shop.server.url + WEBHOOKS
        self.sandbox.control("webhook_endpoints", url=url, secret=SECRET, enabled_events=types)

    def _last_charge(self) -> str:
        query: Any = {"customer": self.customer.customer_id(), "limit": 1}
        return self.shop.stripe.v1.charges.list(query).data[0].id

    def _stripe_now(self) -> int:
        return self.sandbox.control("clock", advance_seconds=0)["now"]


async def _publish(sandbox: Sandbox, url: str) -> None:
    services = build_services(payment_settings(sandbox), url)
    for code in ("starter", "growth"):
        await publish_offer(
            services.database, OPERATOR, code=code, terms=OFFERS[code], now=datetime.now(UTC)
        )
    await services.close()


def main() -> None:
    server_url, invoices, renewals = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    scene = Scene(server_url)
    try:
        counts = scene.play(invoices, renewals)
    finally:
        scene.close()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
