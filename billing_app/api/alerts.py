"""Alerts of an account and its rules, over HTTP."""

from typing import Any

from fastapi import APIRouter

from billing_app.api.alert_rules import Rules, rules_body, rules_of
from billing_app.api.callers import AccountNow, ActorNow, Now, ServicesNow
from billing_app.api.json_body import JsonBody
from billing_app.api.parameters import Cursor, Limit
from billing_app.api.routing import JsonRoute
from billing_app.billing.alerts import rule_settings, service
from billing_app.billing.alerts.rule_settings import AlertRulesView
from billing_app.billing.lists.paging import DEFAULT_LIMIT
from billing_app.routes import ALERT_RULES, ALERTS

router = APIRouter(route_class=JsonRoute, tags=["alerts"])


class SetRules(JsonBody):
    """The account's own rules, instead of all defaults; an empty list: no alerts."""

    rules: Rules


@router.get(ALERTS)
async def list_alerts(
    services: ServicesNow,
    actor: ActorNow,
    account_id: AccountNow,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Alerts of the last 90 days, newest first."""
    page = await service.list_alerts(
        services.database, actor, account_id, limit=limit, cursor=cursor
    )
    return {"items": page.items, "next_cursor": page.next_cursor}


@router.get(ALERT_RULES)
async def read_rules(
    services: ServicesNow, actor: ActorNow, account_id: AccountNow, now: Now
) -> dict[str, Any]:
    """The rules that apply to the account, its own or the defaults."""
    return _body(await rule_settings.read_rules(services.database, actor, account_id, now))


@router.put(ALERT_RULES)
async def set_rules(
    body: SetRules, services: ServicesNow, actor: ActorNow, account_id: AccountNow, now: Now
) -> dict[str, Any]:
    """Replace the account's rules. They apply within seconds."""
    rules = rules_of(body.rules)
    return _body(await rule_settings.set_rules(services.database, actor, account_id, rules, now))


def _body(view: AlertRulesView) -> dict[str, Any]:
    return {
        "account_id": view.account_id,
        "is_own": view.is_own,
        "rules": rules_body(view.rules),
        "defaults": rules_body(view.defaults),
        "updated_at": view.updated_at,
    }
