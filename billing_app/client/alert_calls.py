"""Alerts of an account and its rules: answers, routes, and requests as functions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from .answers import Page
from .bodies import AccountQuery, PageQuery
from .routes import Operation, Route


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """`headline` and `detail` are for people; `figures` by `kind`. `cleared_at`: the balance has
    risen above the threshold. `read_at` is a person's: None for services."""

    id: str
    account_id: str
    kind: str
    rule: str
    headline: str
    detail: str
    figures: dict[str, Any]
    raised_at: datetime
    cleared_at: datetime | None
    read_at: datetime | None


class AlertRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """`value` in the unit of the kind, None for kinds without one; `currency`: `overage_spent`'s
    alone."""

    kind: str
    value: int | None = None
    currency: str | None = None


class AlertRules(msgspec.Struct, frozen=True, kw_only=True):
    """`rules` apply: the account's own (`is_own`), else `defaults`."""

    account_id: str
    is_own: bool
    rules: list[AlertRule]
    defaults: list[AlertRule]
    updated_at: datetime | None


class SetAlertRules(msgspec.Struct, frozen=True):
    rules: list[AlertRule] | None


LIST_ALERTS: Final = Route("GET", "/billing/alerts", Page[Alert], query=PageQuery)
READ_RULES: Final = Route("GET", "/billing/alert-rules", AlertRules, query=AccountQuery)
SET_RULES: Final = Route(
    "PUT", "/billing/alert-rules", AlertRules, body=SetAlertRules, query=AccountQuery
)


def alerts(
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Operation[Page[Alert]]:
    """A page of the account's alerts of the last 90 days, newest first."""
    query = PageQuery(
        organization_id=organization_id,
        user_id=user_id,
        account_id=account_id,
        limit=limit,
        cursor=cursor,
    )
    return LIST_ALERTS.operation(query=query)


def alert_rules(
    organization_id: str | None = None,
    *,
    user_id: str | None = None,
    account_id: str | None = None,
) -> Operation[AlertRules]:
    """The rules that apply to the account, its own or the defaults."""
    query = AccountQuery(organization_id=organization_id, user_id=user_id, account_id=account_id)
    return READ_RULES.operation(query=query)


def set_alert_rules(
    organization_id: str | None = None,
    *,
    rules: Sequence[AlertRule] | None,
    user_id: str | None = None,
    account_id: str | None = None,
) -> Operation[AlertRules]:
    """Replace the account's own rules: none of them means no alerts, None the defaults again.
    Raises InvalidRequestError."""
    body = SetAlertRules(None if rules is None else list(rules))
    query = AccountQuery(organization_id=organization_id, user_id=user_id, account_id=account_id)
    return SET_RULES.operation(body=body, query=query)
