"""Numbers, money, dates and enumerations as text for people."""

from datetime import date, datetime, timedelta
from typing import Final

from billing_app.billing.currencies import exponent_of
from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.plans.service import BeginReason
from billing_app.billing.subscriptions.forecast import Pace
from billing_app.db.enums import (
    AuditRole,
    EndReason,
    EventKind,
    Interval,
    InvoiceStatus,
    PlanSource,
    PlanType,
    Role,
    StaffRole,
)

NEVER_SOON_DAYS: Final = 365
INSTANT: Final = timedelta(microseconds=1)

PLAN_TYPES: Final = {PlanType.TRIAL: "Trial", PlanType.PAID: "Paid"}
SOURCES: Final = {
    PlanSource.TRIAL: "Trial for new users",
    PlanSource.CONTRACT: "Contract",
    PlanSource.SUBSCRIPTION: "Subscription period",
    PlanSource.BRIDGE: "Renewal being confirmed",
    PlanSource.PACK: "One-time purchase",
    PlanSource.STAFF_GRANT: "Granted by support",
    PlanSource.OVERAGE: "Overage",
}
SYMBOLS: Final = {"USD": "$", "EUR": "€", "GBP": "£"}
INTERVALS: Final = {Interval.MONTH: "month", Interval.YEAR: "year"}
INVOICE_STATUSES: Final = {
    InvoiceStatus.DRAFT: "Draft",
    InvoiceStatus.OPEN: "Unpaid",
    InvoiceStatus.PAID: "Paid",
    InvoiceStatus.UNCOLLECTIBLE: "Unpaid",
    InvoiceStatus.VOID: "Void",
}
# Of an open invoice while the bank decides on its debit.
BANK_ASKED: Final = "Waiting for bank"
KINDS: Final = {
    EventKind.CONSUME: "Used",
    EventKind.COMMIT: "Used (reserved)",
    EventKind.REFUND: "Refunded",
    EventKind.ADJUSTMENT: "Adjusted",
}
ROLES: Final = {role: role.value.capitalize() for role in StaffRole}
AUDIT_ROLES: Final = {role: role.value.capitalize() for role in AuditRole}
MEMBER_ROLES: Final = {
    Role.OWNER: "Owner",
    Role.BILLING_ADMIN: "Billing admin",
    Role.MEMBER: "Member",
}
BEGIN_REASONS: Final = {
    BeginReason.FIRST_PLAN: "first plan",
    BeginReason.PREVIOUS_DEPLETED: "previous plan used up",
    BeginReason.PREVIOUS_PERIOD_ENDED: "previous period ended",
    BeginReason.PREVIOUS_CANCELLED: "previous plan cancelled",
    BeginReason.PREVIOUS_REPLACED: "replaced the previous plan",
    BeginReason.PREVIOUS_FULL: "previous plan had nothing available",
    BeginReason.USED_BEFORE_PREVIOUS: "used before the previous plan",
}
END_REASONS: Final = {
    EndReason.DEPLETED: "all executions used",
    EndReason.PERIOD_ENDED: "period ended",
    EndReason.CANCELLED: "cancelled",
    EndReason.REPLACED: "replaced by another plan",
}


def begin_reason(reason: BeginReason | None) -> str:
    """Why a plan started; empty if it has not."""
    return BEGIN_REASONS[reason] if reason else ""


def end_reason(reason: EndReason | None) -> str:
    """Why a plan ended; empty if it has not."""
    return END_REASONS[reason] if reason else ""


def number(value: int) -> str:
    """12,345"""
    return f"{value:,}".replace("-", "\N{MINUS SIGN}")


def counted(value: int, noun: str) -> str:
    """1 execution, 2 executions"""
    return f"{number(value)} {noun}" if value == 1 else f"{number(value)} {noun}s"


def money(amount_minor: int, currency: str) -> str:
    """$1,234.50; 1,235 JPY; a negative amount starts with its sign."""
    exponent = exponent_of(currency)
    whole, rest = divmod(abs(amount_minor), 10**exponent)
    amount = f"{whole:,}.{rest:0{exponent}d}" if exponent else f"{whole:,}"
    symbol = SYMBOLS.get(currency)
    sign = "\N{MINUS SIGN}" if amount_minor < 0 else ""
    return f"{sign}{symbol}{amount}" if symbol else f"{sign}{amount} {currency}"


def refunded(amount_minor: int, currency: str) -> str:
    """What was refunded of a payment; empty if nothing was."""
    return f"{money(amount_minor, currency)} refunded" if amount_minor else ""


def typed_money(amount_minor: int, currency: str) -> str:
    """1234.50, as people type it and typed_numbers.minor_units reads it."""
    exponent = exponent_of(currency)
    whole, rest = divmod(amount_minor, 10**exponent)
    return f"{whole}.{rest:0{exponent}d}" if exponent else str(whole)


def price(offer: OfferView) -> str:
    """$79.00 a month; $29.00 for a pack."""
    amount = money(offer.price_minor, offer.currency)
    interval = INTERVALS.get(offer.interval)
    return f"{amount} a {interval}" if interval else amount


def unit_price(amount_minor: int, executions: int, currency: str) -> str:
    """$0.40 per 100 executions; $0.01 per execution"""
    amount = money(amount_minor, currency)
    if executions == 1:
        return f"{amount} per execution"
    return f"{amount} per {number(executions)} executions"


def listed(names: list[str]) -> str:
    """Ada; Ada or Grace; Ada, Grace or Mary"""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"


def day(value: date) -> str:
    """4 December 2025"""
    return f"{value.day} {value:%B %Y}"


def last_day(ends_at: datetime) -> str:
    """The day of the last moment before an end, which everybody is told: 24 December 2026"""
    return day(ends_at - INSTANT)


def short_day(value: date) -> str:
    """Thu 4 Dec"""
    return f"{value:%a} {value.day} {value:%b}"


def brief_day(value: date) -> str:
    """4 Dec 2025"""
    return f"{value.day} {value:%b %Y}"


def days_between(first: date, last: date) -> str:
    """Both with a dash between, the year once; one day alone when both are the same"""
    if (first.year, first.month, first.day) == (last.year, last.month, last.day):
        return brief_day(last)
    began = f"{first.day} {first:%b}" if first.year == last.year else brief_day(first)
    return f"{began} \N{EN DASH} {brief_day(last)}"


def moment(value: datetime) -> str:
    """4 Dec 2025, 14:03 (UTC)"""
    return f"{value.day} {value:%b %Y, %H:%M}"


def time_of_day(value: datetime) -> str:
    """14:03 (UTC)"""
    return f"{value:%H:%M}"


def exact_moment(value: datetime) -> str:
    """4 Dec, 14:03:22 (UTC)"""
    return f"{value.day} {value:%b, %H:%M:%S}"


def per_day(pace: Pace) -> str:
    """The pace as a number: 12, or 3.4 below ten."""
    if pace.executions_per_day >= 10 or pace.executions_per_day == 0:
        return number(round(pace.executions_per_day))
    return f"{pace.executions_per_day:.1f}"


def days_left(pace: Pace) -> str:
    """How long it lasts, as "about 9 days at this pace"; empty without use."""
    if pace.executions_per_day <= 0:
        return ""
    if pace.days_left is None or pace.days_left > NEVER_SOON_DAYS:
        return "more than a year at this pace"
    if pace.days_left < 1:
        return "less than a day at this pace"
    return f"about {counted(pace.days_left, 'day')} at this pace"


def initials(name: str) -> str:
    """AL for Ada Lovelace; the first letter of an address."""
    parts = [part for part in name.replace("@", " ").split() if part]
    if not parts:
        return "?"
    letters = [parts[0][0], *([parts[-1][0]] if len(parts) > 1 and "@" not in name else [])]
    return "".join(letters).upper()


def waiting_time(seconds: str) -> str:
    """How long to wait, rounded up, from an address that anybody can write."""
    if not (seconds.isascii() and seconds.isdigit()) or len(seconds) > 6 or not int(seconds):
        return "a few minutes"
    if int(seconds) < 100:
        return counted(int(seconds), "second")
    return counted(-(-int(seconds) // 60), "minute")
