"""Notices decisions that cross a threshold of an alert. Pure.

A crossing is seen from the balance before and after each decision. Decisions on an account follow
one another, whichever process makes them, so each crossing is seen once, and a threshold counts
again as soon as the balance was above it.
"""

from datetime import datetime

from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.rules import Crossing, Level, OveragePrice, Watched, is_met
from billing_app.billing.executions.state import AccountState, Changes, LedgerState


def level_of(account: AccountState, now: datetime) -> Level:
    plans = account.plans
    if len(plans) == 1:
        plan = plans[0]
        if not plan.is_usable(now):
            return Level(0, 0, 0)
        if not plan.is_overage:
            return Level(plan.executions - plan.used, plan.executions, 0)
    left = total = overage = 0
    for plan in plans:
        if not plan.is_usable(now):
            continue
        if plan.is_overage:
            overage += plan.used
        else:
            left += plan.executions - plan.used
            total += plan.executions
    return Level(left, total, overage)


def begin(account: AccountState, watched: Watched, now: datetime) -> None:
    """Note the balance before a batch."""
    watched.level = level_of(account, now)
    watched.is_clear = watched.rules.is_clear(watched.level)
    watched.floor = watched.rules.floor(watched.level.total)


def follow(account: AccountState, watched: Watched, changes: Changes) -> None:
    """Note the balance after a decision, and what it crossed."""
    plans = account.plans
    # Nearly always, and so without the rest.
    if watched.is_clear and len(plans) == 1 and plans[0].executions - plans[0].used > watched.floor:
        return
    before, after = watched.level, level_of(account, changes.now)
    watched.level = after
    is_clear = watched.rules.is_clear(after)
    if is_clear and watched.is_clear:
        return
    watched.is_clear = is_clear
    for rule in watched.rules.balance:
        is_now = is_met(rule, after, watched.price)
        if is_now != is_met(rule, before, watched.price):
            number = account.next_number(changes.now_microseconds)
            crossing = Crossing(account.id, number, rule, is_now, after, watched.price)
            changes.crossings.append(crossing)
    if (after.left == 0) != (before.left == 0):
        number = account.next_number(changes.now_microseconds)
        changes.crossings.append(
            Crossing(account.id, number, None, after.left == 0, after, watched.price)
        )


def watch_accounts(ledger: LedgerState, book: RuleBook | None) -> None:
    """Give the accounts of a batch their rules."""
    if book is None:
        return
    for account in ledger.accounts.values():
        rules = book.own(account.id)
        if rules is None:
            by_offer = book.has_offer_rules
            rules = book.of_offer(_offer_version(account, ledger.now) if by_offer else None)
        account.watched = Watched(rules, _overage_price(account, book))


def _offer_version(account: AccountState, now: datetime) -> int | None:
    """Of the plan that is used next."""
    plans = account.plans
    if len(plans) > 1:
        plans = account.usable(now) or plans
    return plans[0].offer_version_id if plans else None


def _overage_price(account: AccountState, book: RuleBook) -> OveragePrice | None:
    for plan in account.plans:
        if plan.is_overage:
            return book.overage_price(plan.offer_version_id)
    return None
