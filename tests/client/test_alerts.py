"""Services set the rules of alerts and read what was raised, through both clients."""

import pytest

from billing_app.client import AlertRule, InvalidRequestError
from tests.client.driven import Driven
from tests.factories import Holder, connect

RULES = [
    AlertRule("remaining_share", 20),
    AlertRule("remaining_number", 0),
    AlertRule("overage_spent", 500, "USD"),
    AlertRule("payment_failed"),
]


def test_rules_are_set_and_reset(driven: Driven, holder: Holder) -> None:
    org = holder.organization_id
    assert not driven.alert_rules(org).is_own
    own = driven.set_alert_rules(org, rules=RULES)
    assert (own.is_own, own.rules, own.account_id) == (True, RULES, holder.account_id)
    assert driven.alert_rules(account_id=holder.account_id) == own
    assert driven.set_alert_rules(org, rules=[]).is_own
    reset = driven.set_alert_rules(org, rules=None)
    assert (reset.is_own, reset.rules) == (False, reset.defaults)
    with pytest.raises(InvalidRequestError) as raised:
        driven.set_alert_rules(org, rules=[AlertRule("remaining_share", 100)])
    assert raised.value.problem.field == "rules.0.value"


def test_alerts_come_page_after_page(
    driven: Driven, holder: Holder, client_database_url: str
) -> None:
    assert driven.alerts(holder.organization_id).items == []
    raise_alerts(client_database_url, holder, 3)
    page = driven.alerts(holder.organization_id, limit=2)
    assert [each.figures["executions_left"] for each in page.items] == [3, 2]
    assert page.next_cursor is not None
    alerts = driven.each_alert(holder.organization_id, limit=2)
    assert [each.headline for each in alerts] == [
        "3 executions left",
        "2 executions left",
        "1 execution left",
    ]
    assert {(each.kind, each.rule, each.account_id) for each in alerts} == {
        ("remaining_number", "remaining_number:3", holder.account_id)
    }


def raise_alerts(url: str, holder: Holder, count: int) -> None:
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO alerts (account_id, number, kind, rule, occasion, figures, raised_at)"
            " SELECT %s, n, 'remaining_number', 'remaining_number:3', n, jsonb_build_object("
            "'threshold', 3, 'executions_left', n, 'executions_total', 10), now()"
            " FROM generate_series(1, %s) AS n",
            [holder.account_number, count],
        )
