"""What notices say, for every kind."""

from typing import Any

import pytest

from billing_app.billing.notices.letters import letter_of
from billing_app.db.enums import NoticeKind

SITE = "https://billing.test"
FIGURES: dict[str, Any] = {
    "amount_minor": 2900,
    "currency": "USD",
    "number": "A-1",
    "what_for": "Growth",
    "page_url": "https://pay.example/1",
    "issued_at": "2026-12-01T10:00:00+00:00",
    "attempt": 2,
    "suspend_at": "2026-12-08T00:00:00+00:00",
    "plan": "Growth",
    "next_plan": "Scale",
    "period_end": "2026-12-20T00:00:00+00:00",
    "ends_at": "2026-12-20T00:00:00+00:00",
    "interval": "month",
    "reason": "The card was declined.",
    "name": "deploy",
    "hint": "bk_…1",
    "expires_at": "2026-12-08",
    "what": "500 executions were added",
}


@pytest.mark.parametrize("kind", list(NoticeKind))
def test_every_kind_has_a_short_subject_and_leads_somewhere(kind: NoticeKind) -> None:
    letter = letter_of(kind, FIGURES, SITE)
    assert 0 < len(letter.headline) <= 78
    assert letter.button
    assert letter.url.startswith("https://")
    assert letter.paragraphs


def test_receipt_leads_to_the_invoice_or_else_to_the_plans() -> None:
    assert letter_of(NoticeKind.RECEIPT, FIGURES, SITE).url == "https://pay.example/1"
    without = letter_of(NoticeKind.RECEIPT, FIGURES | {"page_url": "", "number": ""}, SITE)
    assert without.url == f"{SITE}/overview"
    assert [name for name, _ in without.rows] == ["Paid", "Date"]


def test_failed_payment_names_the_day_the_plan_stops_only_when_it_is_known() -> None:
    known = letter_of(NoticeKind.PAYMENT_FAILED, FIGURES, SITE)
    assert "stops on 8 December 2026" in known.paragraphs[0]
    unknown = letter_of(NoticeKind.PAYMENT_FAILED, FIGURES | {"suspend_at": None}, SITE)
    assert "stops" not in " ".join(unknown.paragraphs)


def test_cancelled_plan_is_usable_until_the_last_day_of_its_period() -> None:
    letter = letter_of(NoticeKind.PLAN_CANCELLED, FIGURES, SITE)
    assert "until 19 December 2026" in letter.paragraphs[0]


def test_renewal_says_when_the_plan_changes_with_it() -> None:
    assert "Scale" in letter_of(NoticeKind.RENEWAL_COMING, FIGURES, SITE).paragraphs[0]
    same = letter_of(NoticeKind.RENEWAL_COMING, FIGURES | {"next_plan": "Growth"}, SITE)
    assert "From then on" not in same.paragraphs[0]
