"""What a review says of a move, beyond its figures."""

from datetime import UTC, datetime

from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.staff.repairs.moves import MovePreview, NextInvoice
from billing_app.billing.staff.repairs.refunds import RangePreview, RangeView, RefundPreview
from billing_app.billing.subscriptions.proration import ChangePreview
from billing_app.db.enums import When
from billing_app.states.staff.review_lines import review_lines, reviewed
from tests.pages.test_payment_labels import offer

END, LATER = datetime(2026, 12, 17, tzinfo=UTC), datetime(2026, 12, 30, tzinfo=UTC)
STARTER, GROWTH, SCALE = offer("starter", 5_000), offer("growth", 20_000), offer("scale", 150_000)
CANCELLED = "The subscription was cancelled and would end on 17 December 2026."


def move(
    *,
    replaces: OfferView | None = None,
    cancelled_at: datetime | None = END,
    ends_at: datetime | None = None,
    ends_trial: bool = False,
) -> list[str]:
    change = ChangePreview(GROWTH, "USD", 6_000, 0, 0, 0, 0, 20_000, LATER, [], 1, END, END)
    invoice = NextInvoice(LATER, 7_900, "USD", 0)
    preview = MovePreview(
        STARTER, When.NOW, 6_000, change, invoice, replaces, cancelled_at, ends_at, ends_trial
    )
    return review_lines(preview)


def test_withdrawn_cancellation_renews() -> None:
    lines = move()
    assert f"{CANCELLED} The cancellation is withdrawn: it renews again." in lines
    assert lines[-1] == "Next invoice on 30 December 2026: $79.00."


def test_kept_cancellation_has_no_next_invoice() -> None:
    lines = move(ends_at=LATER)
    kept = "The cancellation is kept: it ends on 30 December 2026 and does not renew."
    assert lines[-1] == f"{CANCELLED} {kept}"
    assert not [line for line in lines if line.startswith("Next invoice")]


def test_replaced_change_and_trial_are_named() -> None:
    lines = move(replaces=SCALE, cancelled_at=None, ends_trial=True)
    assert "The trial ends now." in lines
    assert "The scheduled change to Scale version 1 is dropped: this move replaces it." in lines
    assert not [line for line in lines if "cancel" in line]


def test_refund_over_an_ended_plan_says_both_figures() -> None:
    found = RangeView(31, 2_419, 0, 0, 0, executions_usable=807)
    lines = review_lines(RangePreview(found, 50))
    assert lines[:2] == [
        "31 events with 2,419 executions are refunded.",
        "The customer can use 807 of them again: 1,612 executions are of plans that have ended.",
    ]
    one = RefundPreview("w", END, 5, 0, 5, executions_usable=0)
    assert review_lines(one)[-1] == (
        "The customer can use 0 of them again: 5 executions are of plans that have ended."
    )
    assert len(review_lines(RefundPreview("w", END, 5, 0, 5, executions_usable=5))) == 2


def test_customer_comes_first_and_the_reason_last() -> None:
    lines = reviewed(["Nothing is charged now."], "Mary (m@example.com)", " Promised ")
    assert lines == [
        "Customer: Mary (m@example.com).",
        "Nothing is charged now.",
        "Reason: Promised",
    ]
