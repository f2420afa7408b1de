"""Whatever two workers read at the same time and in whatever order: once all events are processed,
the mirror is what the provider has."""

from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from billing_app.billing.subscriptions.customer_reads import read_changed, read_whole
from billing_app.billing.subscriptions.mirror import Mirror, ProviderChange, merged
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    ProviderInvoice,
    ProviderSnapshot,
    ReturnedPayment,
)
from billing_app.billing.subscriptions.provider_errors import NotAtProviderError
from billing_app.db.enums import InvoiceStatus
from tests.payments.test_debit_words import INVOICE

CUSTOMER: Final = "cus_1"
WORKERS: Final = 2
SERVER_ACTS: Final = ("issue", "pay", "void", "refund")
SETTLED: Final = (InvoiceStatus.PAID, InvoiceStatus.VOID)


class Pause:
    """Lets the others go on."""

    def __await__(self) -> Generator[None]:
        yield


@dataclass
class Provider:
    """Answers after a while with what it had meanwhile."""

    invoices: list[ProviderInvoice] = field(default_factory=list[ProviderInvoice])

    async def subscriptions_of(self, _: str) -> list[Any]:
        await Pause()
        return []

    async def recent_invoices(self, _: str, after: str | None) -> list[ProviderInvoice] | None:
        await Pause()
        ids = [each.provider_id for each in self.invoices]
        if after is not None and after not in ids:
            raise NotAtProviderError(param="ending_before")
        start = ids.index(after) + 1 if after is not None else 0
        found = [each.with_returned([]) for each in self.invoices[start:]]
        await Pause()
        return found

    async def invoice(self, invoice_id: str, *, with_returned: bool) -> ProviderInvoice:
        await Pause()
        found = self._find(invoice_id)
        await Pause()
        returned = self._find(invoice_id).returned if with_returned else ()
        await Pause()
        return found.with_returned(returned)

    async def customer_snapshot(self, customer_id: str) -> ProviderSnapshot:
        await Pause()
        found = list(self.invoices)
        await Pause()
        return ProviderSnapshot(customer_id, [], found)

    def act(self, kind: str, which: int) -> ProviderChange | None:
        """Something happens; the change that its event tells about."""
        if kind == "issue":
            name = f"{len(self.invoices)}"
            status = InvoiceStatus.OPEN
            made = replace(INVOICE, provider_id=name, status=status, payment_ids=(f"pi_{name}",))
            self.invoices.append(made)
            return ProviderChange(invoice_id=name)
        if not self.invoices:
            return None
        index = which % len(self.invoices)
        one = self.invoices[index]
        if kind == "refund":
            payment_id, before = (
                f"pi_{one.provider_id}",
                sum(r.refunded_minor for r in one.returned),
            )
            back = ReturnedPayment(payment_id, before + 1, 0, None)
            self.invoices[index] = one.with_returned([back])
            return ProviderChange(payment_id=payment_id)
        if one.status in SETTLED:
            return None
        status = InvoiceStatus.PAID if kind == "pay" else InvoiceStatus.VOID
        self.invoices[index] = replace(one, status=status)
        return ProviderChange(invoice_id=one.provider_id)

    def _find(self, invoice_id: str) -> ProviderInvoice:
        return next(each for each in self.invoices if each.provider_id == invoice_id)


@dataclass
class World:
    provider: Provider = field(default_factory=Provider)
    mirror: Mirror = field(default_factory=lambda: Mirror(CUSTOMER, [], 0, 0))
    version: int = 0
    number: int = 0
    events: list[tuple[ProviderChange, int]] = field(default_factory=list[Any])
    workers: list[Coroutine[Any, Any, None]] = field(default_factory=list[Any])

    def next(self) -> int:
        self.number += 1
        return self.number

    def act(self, kind: str, which: int) -> None:
        change = self.provider.act(kind, which)
        if change is not None:
            self.events.append((change, self.next()))

    def step(self, which: int) -> None:
        """One worker goes on, or takes up an event."""
        if len(self.workers) < WORKERS and self.events:
            change, arrival = self.events.pop(which % len(self.events))
            self.workers.append(self.process(change, arrival))
        if self.workers:
            worker = self.workers[which % len(self.workers)]
            try:
                worker.send(None)
            except StopIteration:
                self.workers.remove(worker)

    async def process(self, change: ProviderChange, arrival: int) -> None:
        """As CustomerSync does."""
        provider = cast("PaymentProvider", self.provider)
        for is_last in (False, True):
            number, version, mirror = self.next(), self.version, self.mirror
            if mirror.covers(change, arrival):
                return
            read = await read_changed(provider, mirror, change, number)
            await Pause()
            if not is_last and version != self.version:
                continue
            after = merged(self.mirror, read)
            if after is None:
                read = await read_whole(provider, CUSTOMER, number)
                after = merged(self.mirror, read)
            assert after is not None
            self.mirror, self.version = after, self.version + 1
            return


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([*SERVER_ACTS, *["step"] * 6]), st.integers(0, 7)), max_size=120
    )
)
def test_mirror_is_what_the_provider_has_once_all_is_processed(acts: list[tuple[str, int]]) -> None:
    world = World()
    for kind, which in acts:
        if kind == "step":
            world.step(which)
        else:
            world.act(kind, which)
    for turn in range(10_000):
        if not world.events and not world.workers:
            break
        world.step(turn)
    assert world.mirror.snapshot.invoices == world.provider.invoices
