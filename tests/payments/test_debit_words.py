"""Whatever happens to an invoice: what is told of its debit is what is so. Pure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.subscriptions.bank_debits import bank_stamps, debit_of, packs_to_void
from billing_app.billing.subscriptions.provider import ProviderInvoice, ProviderSnapshot
from billing_app.billing.subscriptions.purchase_outcomes import PaymentState, outcome_of
from billing_app.billing.subscriptions.sold_lines import CHANGE, FIRST, RENEWAL
from billing_app.db.enums import InvoiceStatus
from billing_app.db.tables import Invoice
from billing_app.states.payment_words import debit_messages
from tests.pages.summaries import summary_of
from tests.pages.test_bars import PLAN
from tests.pages.test_plan_labels import PAID, holding

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
INVOICE = ProviderInvoice(
    provider_id="in_1",
    customer_id="cus_1",
    subscription_id=None,
    number="A-1",
    status=InvoiceStatus.OPEN,
    billing_reason="manual",
    currency="USD",
    amount_due_minor=6_000,
    amount_paid_minor=0,
    refunded_minor=0,
    total_minor=6_000,
    waived_minor=0,
    lines=[],
    request_key="buy_pack-1",
    is_collecting=False,
    attempts=1,
    due_at=None,
    is_processing=False,
    paid_at=None,
    reversal=None,
    page_url="https://pay.test/in_1",
    pdf_url="",
    issued_at=NOW,
)
# Only an open invoice has a payment that is on its way.
SEEN = st.one_of(
    st.tuples(st.just(InvoiceStatus.OPEN), st.booleans()),
    st.tuples(st.sampled_from(InvoiceStatus), st.just(False)),
)
REASONS = st.sampled_from([FIRST, CHANGE, RENEWAL, "manual"])


def seen_as(status: InvoiceStatus, *, is_processing: bool, reason: str) -> ProviderInvoice:
    is_of_subscription = reason != "manual"
    return replace(
        INVOICE,
        status=status,
        is_processing=is_processing,
        billing_reason=reason,
        subscription_id="sub_1" if is_of_subscription else None,
        request_key="" if is_of_subscription else "buy_pack-1",
    )


@given(st.lists(SEEN, min_size=1, max_size=8), REASONS)
def test_debit_is_told_as_the_invoice_was_last_seen(
    history: list[tuple[InvoiceStatus, bool]], reason: str
) -> None:
    row = Invoice(  # pyright: ignore[reportCallIssue]
        account_id=1, provider_id="in_1", currency="USD", amount_due_minor=6_000
    )
    was_asked, theirs = False, INVOICE
    for hours, (status, is_processing) in enumerate(history):
        theirs = seen_as(status, is_processing=is_processing, reason=reason)
        for name, value in bank_stamps(row, theirs, NOW + timedelta(hours=hours)).items():
            setattr(row, name, value)
        row.status, row.billing_reason = status, reason
        row.what_for, row.page_url = "Growth, 1 Nov 2026", INVOICE.page_url
        was_asked |= is_processing
        assert row.is_processing == is_processing
    assert outcome_of(row) == outcome_of(theirs)
    if row.bank_asked_at is None:
        return
    assert was_asked
    debit = debit_of(row)
    summary = replace(summary_of(holding(PLAN), PAID), debits=(debit,))
    _check_words(debit.outcome.state, theirs, [each.title for each in debit_messages(summary)])
    voided = packs_to_void(ProviderSnapshot("cus_1", [], [theirs]), {"in_1"})
    assert bool(voided) == (
        theirs.status is InvoiceStatus.OPEN and reason == "manual" and not theirs.is_processing
    )


def _check_words(state: PaymentState, theirs: ProviderInvoice, titles: list[str]) -> None:
    told = " ".join(titles)
    assert ("has been asked" in told) == theirs.is_processing
    if "has paid" in told:
        assert theirs.status is InvoiceStatus.PAID
    if "did not pay" in told:
        assert theirs.status in {
            InvoiceStatus.OPEN,
            InvoiceStatus.VOID,
            InvoiceStatus.UNCOLLECTIBLE,
        }
        assert not theirs.is_processing
    is_renewal = theirs.billing_reason == RENEWAL
    assert bool(titles) == (theirs.is_processing or not is_renewal)
    assert (state is PaymentState.CHARGED) == (theirs.status is InvoiceStatus.PAID)
