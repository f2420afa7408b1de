"""Notices in words. Pure: everything a mail says is in the figures that its notice was written
with, so that it says the same however late it is sent."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from billing_app.billing.mail import Letter
from billing_app.billing.money import Money
from billing_app.db.enums import NoticeKind
from billing_app.routes import DASHBOARD, KEYS, OVERVIEW

Figures = Mapping[str, Any]
Words = Callable[[Figures, str], Letter]
MAX_SUBJECT_LENGTH: Final = 120
INSTANT: Final = timedelta(microseconds=1)


def letter_of(kind: NoticeKind, figures: Figures, site: str) -> Letter:
    """The headline is the subject. `site` is the public URL."""
    return _WORDS[kind](figures, site)


def _receipt(figures: Figures, site: str) -> Letter:
    page = figures["page_url"]
    bought = figures["what_for"]
    return Letter(
        headline=f"Receipt for {_amount(figures)}",
        paragraphs=(f"We received your payment{f' for {bought}' if bought else ''}. Thank you.",),
        rows=(
            ("Paid", _amount(figures)),
            *((("Invoice", figures["number"]),) if figures["number"] else ()),
            ("Date", _day(figures["issued_at"])),
        ),
        button="See invoice and receipt" if page else "See your invoices",
        url=page or f"{site}{OVERVIEW}",
    )


def _payment_failed(figures: Figures, site: str) -> Letter:
    stop = figures.get("suspend_at")
    stops = f" Your plan stops on {_day(stop)} unless it is paid by then." if stop else ""
    return Letter(
        headline=f"Payment of {_amount(figures)} failed",
        paragraphs=(
            f"We tried to charge {_amount(figures)}{_for(figures)}, and the payment failed.{stops}",
            "You can pay the invoice now, with another card too.",
        ),
        rows=(("Amount due", _amount(figures)), ("Attempt", str(figures["attempt"]))),
        button="Pay the invoice" if figures["page_url"] else "See payment",
        url=figures["page_url"] or f"{site}{OVERVIEW}",
    )


def _suspended(figures: Figures, site: str) -> Letter:
    return Letter(
        headline=f"{figures['plan']} has stopped: a payment is overdue",
        paragraphs=(
            f"Until the invoice is paid, no new executions are taken from {figures['plan']}.",
            "Runs that had begun finish, and other plans that you have go on.",
        ),
        button="Pay now",
        url=f"{site}{OVERVIEW}",
    )


def _renewal(figures: Figures, site: str) -> Letter:
    following = figures["next_plan"]
    changes = f" From then on you are on {following}." if following != figures["plan"] else ""
    return Letter(
        headline=f"{figures['plan']} renews on {_day(figures['period_end'])}",
        paragraphs=(
            f"Your plan renews by itself on {_day(figures['period_end'])}.{changes}",
            "You can change or cancel it until then.",
        ),
        rows=(
            ("Plan", following),
            ("Price", f"{_amount(figures)} a {figures['interval']}, before tax and usage"),
        ),
        button="See your plan",
        url=f"{site}{OVERVIEW}",
    )


def _changed(figures: Figures, site: str) -> Letter:
    plan = figures["plan"]
    return _about_plan(f"You are on {plan} now", (f"Your plan was changed to {plan}.",), site)


def _scheduled(figures: Figures, site: str) -> Letter:
    day, following = _day(figures["period_end"]), figures["next_plan"]
    kept = f"Until then you keep {figures['plan']}. You can withdraw the change on the plans page."
    return _about_plan(f"Your plan changes to {following} on {day}", (kept,), site)


def _withdrawn(figures: Figures, site: str) -> Letter:
    kept = f"The change was withdrawn. {figures['plan']} renews on {_day(figures['period_end'])}."
    return _about_plan(f"You stay on {figures['plan']}", (kept,), site)


def _cancelled(figures: Figures, site: str) -> Letter:
    until = _last_day(figures["ends_at"])
    text = (
        f"You can use {figures['plan']} until {until}. It does not renew.",
        "You can resume it until then.",
    )
    return _about_plan(f"{figures['plan']} was cancelled", text, site)


def _resumed(figures: Figures, site: str) -> Letter:
    text = f"The cancellation was withdrawn. It renews on {_day(figures['period_end'])}."
    return _about_plan(f"{figures['plan']} continues", (text,), site)


def _ended(figures: Figures, site: str) -> Letter:
    text = "The subscription has ended and does not renew. Other plans that you have go on."
    return _about_plan(f"{figures['plan']} has ended", (text,), site)


def _top_up_stopped(figures: Figures, site: str) -> Letter:
    return Letter(
        headline="Automatic top-ups have stopped",
        paragraphs=(
            f"Nothing is bought automatically any more: {figures['reason'].rstrip('.')}.",
            "Executions go on for as long as your plans last.",
        ),
        button="See automatic top-ups",
        url=f"{site}{OVERVIEW}#spending",
    )


def _key_expiring(figures: Figures, site: str) -> Letter:
    return Letter(
        headline=f"The API key {figures['name']} expires on {_day(figures['expires_at'])}",
        paragraphs=(
            "From then on requests with this key are refused.",
            "Rotate it before that: for up to a day both keys work, so that you can swap them.",
        ),
        rows=(("Key", f"{figures['name']} ({figures['hint']})"),),
        button="See your API keys",
        url=f"{site}{KEYS}",
    )


def _support(figures: Figures, site: str) -> Letter:
    return Letter(
        headline=f"Support: {figures['what']}"[:MAX_SUBJECT_LENGTH],
        paragraphs=(f"{figures['what']}.", f"The reason: {figures['reason']}"),
        button="See your account",
        url=f"{site}{DASHBOARD}",
    )


def _about_plan(headline: str, paragraphs: tuple[str, ...], site: str) -> Letter:
    return Letter(headline, paragraphs, "See your plan", f"{site}{OVERVIEW}")


def _amount(figures: Figures) -> str:
    return str(Money(figures["amount_minor"], figures["currency"]))


def _for(figures: Figures) -> str:
    return f" for {figures['what_for']}" if figures["what_for"] else ""


def _day(moment: str) -> str:
    """4 December 2026"""
    at = datetime.fromisoformat(moment)
    return f"{at.day} {at:%B %Y}"


def _last_day(moment: str) -> str:
    return _day((datetime.fromisoformat(moment) - INSTANT).isoformat())


_WORDS: Final[Mapping[NoticeKind, Words]] = {
    NoticeKind.RECEIPT: _receipt,
    NoticeKind.PAYMENT_FAILED: _payment_failed,
    NoticeKind.PLAN_SUSPENDED: _suspended,
    NoticeKind.RENEWAL_COMING: _renewal,
    NoticeKind.PLAN_CHANGED: _changed,
    NoticeKind.CHANGE_SCHEDULED: _scheduled,
    NoticeKind.CHANGE_WITHDRAWN: _withdrawn,
    NoticeKind.PLAN_CANCELLED: _cancelled,
    NoticeKind.PLAN_RESUMED: _resumed,
    NoticeKind.PLAN_ENDED: _ended,
    NoticeKind.TOP_UP_STOPPED: _top_up_stopped,
    NoticeKind.KEY_EXPIRING: _key_expiring,
    NoticeKind.SUPPORT: _support,
}
