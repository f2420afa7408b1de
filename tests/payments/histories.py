"""What can happen to one customer: what they, support, their bank and the network do; and a plain
model of who paid what for what, from Stripe's own lists alone."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import stripe
from hypothesis import strategies as st

from billing_app.billing.subscriptions.provider import ProviderEvent
from billing_app.db.enums import When
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, OFFERS, BillingHarness
from tests.payments.test_discounts import discount
from tests.payments.test_pack_purchases import order
from tests.payments.test_slow_debits import use_bank_account
from tests.payments.test_tax import charge_today

SIZES: Final = {f"{code}-v1": terms.executions for code, terms in OFFERS.items()}
PAUSES: Final = ["keep_as_draft", "mark_uncollectible", "void"]
SMALL_DISPUTE_PERCENT: Final = 20
FIRST, RENEWAL, CHANGE, SINGLE = (
    "subscription_create",
    "subscription_cycle",
    "subscription_update",
    "manual",
)
NOT_DELIVERING: Final = frozenset({"lose", "late", "fault"})
# Where the sandbox taxes 0, 19 and 8.1 %; None: without Stripe Tax.
COUNTRIES: Final = st.sampled_from([None, None, "US", "DE", "CH"])
PLANS: Final = st.sampled_from(["starter", "growth"])
ACTS: Final = st.one_of(
    st.tuples(st.just("use"), st.integers(1, 4_000)),
    st.tuples(st.just("wait"), st.integers(1, 33)),
    st.tuples(st.just("wait"), st.integers(25, 33)),
    st.tuples(st.just("quantity"), st.integers(1, 3)),
    st.tuples(st.just("coupon"), st.sampled_from([10, 50, 100])),
    st.tuples(st.just("pause"), st.sampled_from([*PAUSES, ""])),
    st.tuples(st.just("end"), st.sampled_from([5, 40, 0])),
    st.tuples(st.just("cancel"), st.sampled_from(When)),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("later"), PLANS),
    st.tuples(st.just("now"), PLANS),
    st.tuples(st.just("begin"), PLANS),
    st.tuples(st.just("pack"), st.just(0)),
    st.tuples(st.just("item"), st.integers(1, 12)),
    st.tuples(st.just("card"), st.sampled_from(["pm_card_visa", "pm_card_chargeCustomerFail"])),
    st.tuples(st.just("bank"), st.just(0)),
    st.tuples(st.just("bank"), st.just(0)),
    st.tuples(st.just("debit"), st.booleans()),
    st.tuples(st.just("debit"), st.booleans()),
    st.tuples(st.just("refund"), st.sampled_from([50, 95, 100])),
    st.tuples(st.just("dispute"), st.sampled_from([5, 100])),
    st.tuples(st.just("evidence"), st.sampled_from(["winning_evidence", "losing_evidence"])),
    st.tuples(st.just("lose"), st.just(0)),
    st.tuples(st.just("late"), st.just(0)),
    st.tuples(st.just("twice"), st.just(0)),
    st.tuples(
        st.just("fault"),
        st.sampled_from(["charges", "invoices", "subscriptions", "payment_intents", "coupons"]),
    ),
)


@dataclass
class History:
    """`wishes`: how often something was asked for that Stripe invoices, by the invoice's reason."""

    harness: BillingHarness
    wishes: Counter[str] = field(default_factory=lambda: Counter({FIRST: 1}))
    late: list[ProviderEvent] = field(default_factory=list[ProviderEvent])

    async def act(self, kind: str, what: Any) -> None:
        """Raises what the customer is told, and what Stripe tells support."""
        harness = self.harness
        try:
            if kind == "use":
                await harness.use(what)
            elif kind == "wait":
                harness.skip(what * DAY)
            elif kind in ("later", "now", "cancel", "resume", "begin", "pack"):
                await self._as_customer(kind, what)
            elif kind in ("debit", "refund", "dispute", "evidence"):
                _by_bank(harness, kind, what)
            elif kind in ("lose", "late", "twice", "fault"):
                await self._by_network(kind, what)
            else:
                _by_support(harness, kind, what)
        finally:
            if kind not in NOT_DELIVERING:
                await harness.deliver()

    async def _as_customer(self, kind: str, what: Any) -> None:
        harness = self.harness
        live = await harness.subscription()
        if kind == "pack":
            await self._buy_pack()
        elif kind == "begin":
            self.wishes[FIRST] += 1
            await harness.begin(what)
        elif live is None:
            return
        elif kind == "now":
            await self._change_now(what)
        elif kind == "later":
            await harness.change(what, When.PERIOD_END)
        elif kind == "cancel":
            await harness.cancel(what)
        else:
            await harness.resume()

    async def _change_now(self, offer: str) -> None:
        preview = await self.harness.preview(offer)
        self.wishes[CHANGE] += 1
        known = {each.id for each in self.harness.invoices()}
        await self.harness.services.subscriptions.change(
            OPERATOR,
            (await self.harness.live()).id,
            offer_code=offer,
            when=When.NOW,
            now=self.harness.now,
            agreed=preview,
        )
        made = [each for each in self.harness.invoices() if each.id not in known]
        assert [each.amount_due for each in made] == [preview.amount_due_minor], "as shown"

    async def _buy_pack(self) -> None:
        harness = self.harness
        customer: Any = harness.client.v1.customers.retrieve(harness.customer_id())
        method = customer.invoice_settings.default_payment_method
        shown = await charge_today(harness, "pack")
        self.wishes[SINGLE] += 1
        known = {each.id for each in harness.invoices()}
        account_id, confirmed = harness.holder.account_id, await order(harness, method)
        packs = harness.services.subscriptions.packs
        await packs.buy(OPERATOR, account_id, confirmed, harness.now)
        made = [each for each in harness.invoices() if each.id not in known]
        assert [each.amount_due for each in made] == [shown], "as shown"

    async def _by_network(self, kind: str, what: Any) -> None:
        harness = self.harness
        if kind == "lose":
            harness.missed()
        elif kind == "late":
            self.late += harness.missed()
        elif kind == "twice":
            events = harness.missed()
            await harness.deliver_each([*events, *reversed(events)])
        else:
            harness.sandbox.fault(kind="status", status=500, path=f"/v1/{what}*", times=3)

    async def settle(self) -> None:
        """The outage ends; what was late arrives, in the wrong order."""
        self.harness.sandbox.http.delete("/_sandbox/faults")
        await self.harness.deliver_each(reversed(self.late))


def _by_support(harness: BillingHarness, kind: str, what: Any) -> None:
    """In Stripe's dashboard."""
    if kind == "quantity":
        item = harness.subscriptions()[0].items.data[0].id
        _at_stripe(harness, items=[{"id": item, "quantity": what}], proration_behavior="none")
    elif kind == "coupon":
        discount(harness, percent_off=what, duration="forever")
    elif kind == "pause":
        _at_stripe(harness, pause_collection={"behavior": what} if what else "")
    elif kind == "end":
        end = int(harness.now.timestamp()) + what * DAY
        _at_stripe(harness, cancel_at=end if what else "")
    elif kind == "card":
        harness.use_card(what)
    elif kind == "bank":
        use_bank_account(harness)
    else:
        for _ in range(what):
            item = {"customer": harness.customer_id(), "amount": 10, "currency": "usd"}
            harness.client.v1.invoice_items.create(item)  # pyright: ignore[reportArgumentType]


def _by_bank(harness: BillingHarness, kind: str, what: Any) -> None:
    query: Any = {"customer": harness.customer_id(), "limit": 100}
    client, charges = harness.client.v1, harness.charges()
    if kind == "debit":
        for intent in client.payment_intents.list(query).data:
            if intent.status == "processing":
                harness.sandbox.control("debits", payment_intent=intent.id, succeeds=what)
    elif kind == "evidence":
        told: Any = {"evidence": {"uncategorized_text": what}, "submit": True}
        for dispute in client.disputes.list().data:
            if dispute.status == "needs_response":
                client.disputes.update(dispute.id, told)
    elif charges and kind == "refund":
        amount = max(1, charges[-1].amount * what // 100)
        client.refunds.create({"charge": charges[-1].id, "amount": amount})
    elif charges and _is_disputable(charges[-1]):
        amount = max(1, charges[-1].amount * what // 100)
        harness.sandbox.control("disputes", charge=charges[-1].id, amount=amount)


def _is_disputable(charge: stripe.Charge) -> bool:
    details = charge.payment_method_details
    return not charge.disputed and details is not None and details.type == "card"


def _at_stripe(harness: BillingHarness, **body: Any) -> None:
    harness.client.v1.subscriptions.update(harness.subscriptions()[0].id, body)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Paid:
    """What an invoice of Stripe says: what it sold, and what came of its payment."""

    invoice_id: str
    reason: str
    status: str
    executions: int
    fate: str  # of its plan: "stands", "suspended", "ended"
    payments: int


def paid_by_stripe(harness: BillingHarness) -> dict[str, Paid]:
    """By invoice. A paid line of an offer gives its quantity times its size, once; a payment that
    went back takes it away again, unless a small share of it is disputed."""
    prices = {each.id: each.lookup_key for each in harness.client.v1.prices.list().data}
    query: Any = {"customer": harness.customer_id(), "limit": 100, "expand": ["data.payments"]}
    charges = {str(each.payment_intent): each for each in harness.charges()}
    found: dict[str, Paid] = {}
    for invoice in harness.client.v1.invoices.list(query).auto_paging_iter():
        payments: list[Any] = invoice.payments.data if invoice.payments else []
        own = [charges.get(str(each.payment.payment_intent)) for each in payments]
        taken = [each for each in own if each is not None]
        found[str(invoice.id)] = Paid(
            str(invoice.id),
            invoice.billing_reason or "",
            invoice.status or "",
            _executions(harness, str(invoice.id), prices),
            _fate(harness, taken),
            len(taken),
        )
    return found


def _executions(harness: BillingHarness, invoice_id: str, prices: dict[str, Any]) -> int:
    lines = harness.client.v1.invoices.line_items.list(invoice_id, {"limit": 100}).data
    sold = 0
    for line in lines:
        details = line.pricing.price_details if line.pricing else None
        size = SIZES.get(prices.get(str(details.price)) or "", 0) if details else 0
        sold += size * (line.quantity or 0)
    return sold


def _fate(harness: BillingHarness, charges: list[stripe.Charge]) -> str:
    fates = {"stands"}
    for charge in charges:
        query: Any = {"charge": charge.id}
        disputes = harness.client.v1.disputes.list(query).data if charge.disputed else []
        lost = sum(each.amount for each in disputes if each.status == "lost")
        opened = sum(each.amount for each in disputes if each.status == "needs_response")
        share = charge.amount * SMALL_DISPUTE_PERCENT
        if charge.amount_refunded + lost >= charge.amount or lost * 100 >= share > 0:
            fates.add("ended")
        elif opened * 100 >= share > 0:
            fates.add("suspended")
    return min(fates, key=["ended", "suspended", "stands"].index)
