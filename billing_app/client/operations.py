"""Requests as functions: `Billing` and `AsyncBilling` have them as methods, with one signature.

Every account is named by `organization_id` and, for the public organization, `user_id`; reading
also takes `account_id`. Keys are made where none is given, and stay the same on retries.
"""

from datetime import date

from . import bodies, routes
from .answers import (
    AccountHistory,
    BegunSubscription,
    ChangePreview,
    CheckAnswer,
    CurrentPlan,
    CurrentSubscription,
    CurrentTopUp,
    Offers,
    OverageLimit,
    Page,
    PlanView,
    PortalSession,
    Receipt,
    RefundAnswer,
    SettleAnswer,
    Subscription,
    TopUp,
    Usage,
    UsageEvent,
)
from .bodies import EventKind, GroupBy, Separator, When
from .routes import Operation, new_key


def check(
    organization_id: str,
    *,
    user_id: str | None = None,
    executions: int = 1,
    workflow: str | None = None,
) -> Operation[CheckAnswer]:
    """Whether so many executions are left; counts nothing. Raises DeniedError if not."""
    body = bodies.CheckExecutions(
        organization_id=organization_id, user_id=user_id, executions=executions, workflow=workflow
    )
    return routes.CHECK.operation(body=body)


def consume(
    organization_id: str,
    *,
    user_id: str | None = None,
    executions: int = 1,
    workflow: str | None = None,
    idempotency_key: str | None = None,
) -> Operation[CheckAnswer]:
    """Count executions, all or none. Raises DeniedError."""
    body = bodies.CheckExecutions(
        organization_id=organization_id,
        user_id=user_id,
        executions=executions,
        mode="consume",
        workflow=workflow,
    )
    return routes.CHECK.operation(body=body, key=key_of(idempotency_key))


def reserve(
    organization_id: str,
    *,
    user_id: str | None = None,
    executions: int = 1,
    workflow: str | None = None,
    hold_seconds: int | None = None,
    idempotency_key: str | None = None,
) -> Operation[CheckAnswer]:
    """Hold executions for `hold_seconds` (the server's default: 900). Raises DeniedError."""
    body = bodies.CheckExecutions(
        organization_id=organization_id,
        user_id=user_id,
        executions=executions,
        mode="reserve",
        workflow=workflow,
        hold_seconds=hold_seconds,
    )
    return routes.CHECK.operation(body=body, key=key_of(idempotency_key))


def commit(reservation_id: str, executions: int | None = None) -> Operation[SettleAnswer]:
    """Count what was used, all if None; the rest is released. Raises ConflictError."""
    body = bodies.CommitReservation(executions)
    return routes.COMMIT.operation(reservation_id, body=body)


def release(reservation_id: str) -> Operation[SettleAnswer]:
    """Give back a reservation; nothing is counted. Raises ConflictError."""
    return routes.RELEASE.operation(reservation_id)


def refund(
    event_id: str,
    reason: str,
    executions: int | None = None,
    *,
    idempotency_key: str | None = None,
) -> Operation[RefundAnswer]:
    """Give back executions of an event, all that is left of it if None. Raises ConflictError."""
    body = bodies.RefundExecutions(reason, executions)
    return routes.REFUND.operation(event_id, body=body, key=key_of(idempotency_key))


def receipt(event_id: str) -> Operation[Receipt]:
    """Which plans paid for an execution, and its refunds. Raises NotFoundError."""
    return routes.RECEIPT.operation(event_id)


def current_plan(
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
) -> Operation[CurrentPlan]:
    """The plan in use, the account's numbers, and what comes next."""
    return routes.CURRENT_PLAN.operation(query=_account(organization_id, user_id, account_id))


def plan_history(
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Operation[Page[PlanView]]:
    """A page of the account's plans, newest first."""
    query = bodies.PageQuery(
        organization_id=organization_id,
        user_id=user_id,
        account_id=account_id,
        limit=limit,
        cursor=cursor,
    )
    return routes.PLAN_HISTORY.operation(query=query)


def usage(
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
    first: date | None = None,
    last: date | None = None,
    group_by: GroupBy = "day",
) -> Operation[Usage]:
    """Executions by day, workflow or user; the last 30 UTC days by default."""
    query = bodies.UsageQuery(
        organization_id=organization_id,
        user_id=user_id,
        account_id=account_id,
        first=first,
        last=last,
        group_by=group_by,
    )
    return routes.USAGE.operation(query=query)


def usage_events(  # noqa: PLR0913 - the query string's
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
    kind: EventKind | None = None,
    workflow: str | None = None,
    first: date | None = None,
    last: date | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Operation[Page[UsageEvent]]:
    """A page of the account's ledger, newest first."""
    query = bodies.EventsQuery(
        organization_id=organization_id,
        user_id=user_id,
        account_id=account_id,
        kind=kind,
        workflow=workflow,
        first=first,
        last=last,
        limit=limit,
        cursor=cursor,
    )
    return routes.USAGE_EVENTS.operation(query=query)


def export_usage(  # noqa: PLR0913 - the query string's
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
    kind: EventKind | None = None,
    workflow: str | None = None,
    first: date | None = None,
    last: date | None = None,
    separator: Separator = "comma",
    byte_order_mark: bool = False,
) -> Operation[str]:
    """The same events as CSV, in pieces as they arrive."""
    query = bodies.ExportQuery(
        organization_id=organization_id,
        user_id=user_id,
        account_id=account_id,
        kind=kind,
        workflow=workflow,
        first=first,
        last=last,
        separator=separator,
        byte_order_mark=byte_order_mark,
    )
    return routes.USAGE_EXPORT.operation(query=query)


def account_history(
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Operation[AccountHistory]:
    """A page of what staff did to the account, newest first."""
    query = bodies.PageQuery(
        organization_id=organization_id,
        user_id=user_id,
        account_id=account_id,
        limit=limit,
        cursor=cursor,
    )
    return routes.ACCOUNT_HISTORY.operation(query=query)


def offers() -> Operation[Offers]:
    """What is on sale."""
    return routes.OFFERS.operation()


def subscribe(
    organization_id: str,
    offer: str,
    *,
    user_id: str | None = None,
    success_url: str | None = None,
    cancel_url: str | None = None,
) -> Operation[BegunSubscription]:
    """Subscribe with the card on file, or get a checkout. Raises PaymentError, ConflictError."""
    body = bodies.Subscribe(
        organization_id=organization_id,
        offer=offer,
        user_id=user_id,
        success_url=success_url,
        cancel_url=cancel_url,
    )
    return routes.SUBSCRIBE.operation(body=body)


def current_subscription(
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
) -> Operation[CurrentSubscription]:
    """The live subscription, or None."""
    query = _account(organization_id, user_id, account_id)
    return routes.CURRENT_SUBSCRIPTION.operation(query=query)


def preview_change(
    subscription_id: str, offer: str, when: When = "now"
) -> Operation[ChangePreview]:
    """The exact cost of a change, and when it is charged. Changes nothing."""
    body = bodies.ChangeOffer(offer, when)
    return routes.PREVIEW_CHANGE.operation(subscription_id, body=body)


def change_subscription(
    subscription_id: str, offer: str, when: When = "now"
) -> Operation[Subscription]:
    """Change the offer. Raises PaymentError, ConflictError."""
    body = bodies.ChangeOffer(offer, when)
    return routes.CHANGE_SUBSCRIPTION.operation(subscription_id, body=body)


def cancel_subscription(subscription_id: str, when: When = "period_end") -> Operation[Subscription]:
    """Cancel at the end of the period, or now."""
    query = bodies.CancelQuery(when)
    return routes.CANCEL_SUBSCRIPTION.operation(subscription_id, query=query)


def resume_subscription(subscription_id: str) -> Operation[Subscription]:
    """Withdraw a cancellation or change that waits for the end of the period."""
    return routes.RESUME_SUBSCRIPTION.operation(subscription_id)


def open_portal(
    organization_id: str, return_url: str, *, user_id: str | None = None
) -> Operation[PortalSession]:
    """The address of Stripe's portal for the account's cards and invoices."""
    body = bodies.OpenPortal(
        organization_id=organization_id, return_url=return_url, user_id=user_id
    )
    return routes.OPEN_PORTAL.operation(body=body)


def overage_limit(
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
) -> Operation[OverageLimit]:
    """The most that the account spends on overage in a period."""
    return routes.OVERAGE_LIMIT.operation(query=_account(organization_id, user_id, account_id))


def set_overage_limit(
    organization_id: str | None = None,
    *,
    limit_minor: int | None,
    currency: str,
    user_id: str | None = None,
    account_id: str | None = None,
) -> Operation[OverageLimit]:
    """None removes the limit; 0 allows no overage."""
    body = bodies.SetOverageLimit(limit_minor, currency)
    query = _account(organization_id, user_id, account_id)
    return routes.SET_OVERAGE_LIMIT.operation(body=body, query=query)


def top_up(
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
) -> Operation[CurrentTopUp]:
    """The automatic top-up, or None when it is off."""
    return routes.TOP_UP.operation(query=_account(organization_id, user_id, account_id))


def switch_on_top_up(
    organization_id: str | None = None,
    *,
    offer: str,
    threshold_executions: int,
    monthly_cap_minor: int,
    currency: str | None = None,
    user_id: str | None = None,
    account_id: str | None = None,
) -> Operation[TopUp]:
    """Buy the pack `offer` whenever fewer than `threshold_executions` are left."""
    body = bodies.SwitchOnTopUp(
        offer=offer,
        threshold_executions=threshold_executions,
        monthly_cap_minor=monthly_cap_minor,
        currency=currency,
    )
    query = _account(organization_id, user_id, account_id)
    return routes.SWITCH_ON_TOP_UP.operation(body=body, query=query)


def switch_off_top_up(
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
) -> Operation[None]:
    """A purchase in progress still completes."""
    return routes.SWITCH_OFF_TOP_UP.operation(query=_account(organization_id, user_id, account_id))


def _account(
    organization_id: str | None, user_id: str | None, account_id: str | None
) -> bodies.AccountQuery:
    return bodies.AccountQuery(
        organization_id=organization_id, user_id=user_id, account_id=account_id
    )


def key_of(idempotency_key: str | None) -> str:
    """The caller's, or a new one."""
    return new_key() if idempotency_key is None else idempotency_key
