"""Reading plans, usage, events and the export: fields, pages and filters."""

import codecs
import csv
import io
from datetime import UTC, datetime, timedelta

import httpx
import pandas as pd
import pytest

from billing_app.db.enums import Scope
from billing_app.routes import CHECK_EXECUTIONS
from tests.api.contract.requests import NUMBERS, ask, done, numbers, of
from tests.databases import without_triggers
from tests.factories import Holder, add_plan, api_key, connect, organization


def test_current_plan_and_upcoming_plans(
    service: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    add_plan(api_database_url, holder, 3, 7, starts_at=tomorrow)
    done(ask(service, holder, "consume", 11, "k"))
    current = done(service.get("/billing/plans/current", params=of(holder)))
    after = ["period_end", "upcoming", "overage", "next_executions"]
    fields = ["account_id", "plan", *NUMBERS, *after]
    assert list(current) == fields
    assert current["overage"] is None
    assert numbers(current) == (5, 1, 0, 4)
    assert current["plan"]["sequence"] == 2
    assert current["plan"]["state"] == "current"
    assert current["plan"]["began_because"] == "previous_depleted"
    assert [plan["sequence"] for plan in current["upcoming"]] == [3]
    by_account = service.get("/billing/plans/current", params={"account_id": holder.account_id})
    assert by_account.json() == current


def test_upcoming_plans_are_in_the_order_of_use(
    service: httpx.Client, api_database_url: str
) -> None:
    holder = organization(api_database_url, 9)
    now = datetime.now(UTC)
    done(ask(service, holder, "consume", 2, "before"))
    for sequence, days in ((2, 30), (3, None), (4, 10)):
        ends_at = now + timedelta(days=days) if days else None
        add_plan(api_database_url, holder, sequence, 5, starts_at=now, ends_at=ends_at)
    current = done(service.get("/billing/plans/current", params=of(holder)))
    plan, upcoming = current["plan"], current["upcoming"]
    assert (plan["sequence"], plan["began_because"]) == (4, "used_before_previous")
    assert current["period_end"] == plan["ends_at"]
    assert [(each["sequence"], each["remaining"]) for each in upcoming] == [(2, 5), (1, 7), (3, 5)]
    event = done(ask(service, holder, "consume", 12, "k"))["event_id"]
    receipt = done(service.get(f"/billing/executions/{event}"))
    assert [part["executions"] for part in receipt["parts"]] == [2, 5, 5]
    current = done(service.get("/billing/plans/current", params=of(holder)))
    assert (current["plan"]["sequence"], numbers(current)) == (1, (14, 4, 0, 10))


def test_account_whose_first_plan_has_not_begun(
    service: httpx.Client, api_database_url: str
) -> None:
    early = organization(api_database_url)
    add_plan(api_database_url, early, 1, 7, starts_at=datetime.now(UTC) + timedelta(days=1))
    current = done(service.get("/billing/plans/current", params=of(early)))
    assert current["plan"] is None
    assert current["executions_remaining"] == 0
    assert [plan["state"] for plan in current["upcoming"]] == ["upcoming"]


def test_used_up_plan_keeps_its_totals_until_the_next_begins(
    service: httpx.Client, api_database_url: str
) -> None:
    holder = organization(api_database_url, 3)
    add_plan(api_database_url, holder, 2, 7, starts_at=datetime.now(UTC) + timedelta(days=1))
    done(ask(service, holder, "consume", 3, "k"))
    current = done(service.get("/billing/plans/current", params=of(holder)))
    assert (current["plan"]["sequence"], current["plan"]["state"]) == (1, "ended")
    assert numbers(current) == (3, 3, 0, 0)


def test_history_is_paged_newest_first(service: httpx.Client, api_database_url: str) -> None:
    holder = organization(api_database_url, 1, 1, 1, 1, 1)
    done(ask(service, holder, "consume", 2, "k"))
    sequences: list[int] = []
    cursor: str | None = None
    for _ in range(3):
        params = of(holder, limit=2) | ({"cursor": cursor} if cursor else {})
        page = done(service.get("/billing/plans/history", params=params))
        assert list(page) == ["items", "next_cursor"]
        sequences += [plan["sequence"] for plan in page["items"]]
        cursor = page["next_cursor"]
    assert sequences == [5, 4, 3, 2, 1]
    assert cursor is None
    first = page["items"][-1]
    assert (first["state"], first["ended_because"]) == ("ended", "depleted")
    assert (first["began_because"], first["remaining"]) == ("first_plan", 0)


def test_usage_by_day_workflow_and_user(service: httpx.Client, holder: Holder) -> None:
    event = done(ask(service, holder, "consume", 4, "a", workflow="w", user_id="u"))["event_id"]
    done(ask(service, holder, "consume", 2, "b"))
    done(
        service.post(
            f"/billing/executions/{event}/refund", json={"executions": 1, "reason": "failed"}
        )
    )
    assert ask(service, holder, "consume", 99, "c", workflow="w").status_code == 402
    today = datetime.now(UTC).date().isoformat()
    answer = done(service.get("/billing/usage", params=of(holder)))
    assert answer["account_id"] == holder.account_id
    assert (answer["to"], answer["group_by"]) == (today, "day")
    assert answer["items"] == [
        {
            "day": today,
            "used": 6,
            "refunded": 1,
            "net": 5,
            "denied": {"insufficient_executions": 1},
        }
    ]
    assert answer["totals"] == {"used": 6, "refunded": 1, "net": 5, "denied": 1}
    by_workflow = done(service.get("/billing/usage", params=of(holder, group_by="workflow")))
    assert [(row["workflow"], row["net"]) for row in by_workflow["items"]] == [("", 2), ("w", 3)]
    by_user = done(service.get("/billing/usage", params=of(holder, group_by="user")))
    assert [(row["user"], row["net"]) for row in by_user["items"]] == [("", 2), ("u", 3)]
    past = {"from": "2020-01-01", "to": "2020-01-31"}
    earlier = done(service.get("/billing/usage", params=of(holder) | past))
    assert (earlier["from"], earlier["to"], earlier["items"]) == ("2020-01-01", "2020-01-31", [])


def test_events_are_paged_and_filtered(service: httpx.Client, holder: Holder) -> None:
    names = [("a", "w"), ("b", ""), ("c", "w"), ("d", "w"), ("e", "")]
    for key, workflow in names:
        done(ask(service, holder, "consume", 1, key, workflow=workflow))
    keys: list[str] = []
    cursor: str | None = None
    while True:
        params = of(holder, limit=2) | ({"cursor": cursor} if cursor else {})
        page = done(service.get("/billing/usage/events", params=params))
        keys += [event["idempotency_key"] for event in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert keys == ["e", "d", "c", "b", "a"]
    event = page["items"][0]
    assert list(event) == [
        "event_id",
        "kind",
        "executions",
        "workflow",
        "user_id",
        "idempotency_key",
        "plan_ids",
        "executions_remaining",
        "refers_to",
        "reason",
        "occurred_at",
    ]
    assert (event["kind"], event["executions"], event["executions_remaining"]) == ("consume", 1, 14)
    by_workflow = done(service.get("/billing/usage/events", params=of(holder, workflow="w")))
    assert [e["idempotency_key"] for e in by_workflow["items"]] == ["d", "c", "a"]
    refunds = done(service.get("/billing/usage/events", params=of(holder, kind="refund")))
    assert refunds == {"items": [], "next_cursor": None}
    today = datetime.now(UTC).date()
    params = of(holder, to=(today - timedelta(days=1)).isoformat())
    assert done(service.get("/billing/usage/events", params=params))["items"] == []


@pytest.mark.parametrize(
    ("days", "found"),
    [
        ({}, ["today", "old", "ancient"]),
        ({"from": 40}, ["today", "old"]),
        ({"from": 5_000}, ["today", "old", "ancient"]),
        ({"from": -5}, []),
        ({"to": 0}, ["today", "old", "ancient"]),
        ({"to": 40}, ["old", "ancient"]),
        ({"from": 41, "to": 39}, ["old"]),
    ],
)
def test_events_and_export_cover_the_same_days(
    service: httpx.Client, api_database_url: str, days: dict[str, int], found: list[str]
) -> None:
    """Without a day, that end of the range is open."""
    holder = organization(api_database_url, 10)
    for key, days_ago in (("ancient", 4_000), ("old", 40), ("today", 0)):
        done(ask(service, holder, "consume", 1, key))
        with connect(api_database_url) as connection, connection.transaction():
            without_triggers(connection)
            connection.execute(
                "UPDATE execution_events SET number = number - %s * 86400000000::bigint"
                " WHERE account_id = %s AND idempotency_key = %s",
                [days_ago, holder.account_number, key],
            )
    today = datetime.now(UTC).date()
    told = {name: (today - timedelta(days=ago)).isoformat() for name, ago in days.items()}
    page = done(service.get("/billing/usage/events", params=of(holder, **told)))
    assert [event["idempotency_key"] for event in page["items"]] == found
    export = service.get("/billing/usage/export.csv", params=of(holder, **told))
    rows = csv.DictReader(io.StringIO(export.text))
    assert [row["idempotency_key"] for row in rows] == found
    assert told.get("from", "") in export.headers["content-disposition"]


def test_export_has_every_event_and_escapes_formulas(service: httpx.Client, holder: Holder) -> None:
    done(ask(service, holder, "consume", 12, "=HYPERLINK(1)", workflow='@w,"x"', user_id="+u"))
    done(ask(service, holder, "consume", 1, "plain"))
    response = service.get("/billing/usage/export.csv", params=of(holder))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"].startswith("attachment; filename=")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [row["executions"] for row in rows] == ["1", "12"]
    assert rows[1]["idempotency_key"] == "'=HYPERLINK(1)"
    assert rows[1]["workflow"] == '\'@w,"x"'
    assert rows[1]["user_id"] == "'+u"
    assert len(rows[1]["plan_ids"].split()) == 2
    assert rows[0]["event_id"].startswith("evt_")


def test_export_opens_in_excel_and_in_pandas(service: httpx.Client, holder: Holder) -> None:
    done(ask(service, holder, "consume", 2, "key;=1+1", workflow="Füllen; -2+3"))
    excel = {"separator": "semicolon", "byte_order_mark": "true"}
    response = service.get("/billing/usage/export.csv", params=of(holder, **excel))
    assert response.content.startswith(codecs.BOM_UTF8 + b"event_id;occurred_at;")
    table = pd.read_csv(io.BytesIO(response.content), sep=";")
    assert table["event_id"][0].startswith("evt_")
    assert table["workflow"][0] == "Füllen;' -2+3"
    assert table["idempotency_key"][0] == "key;'=1+1"
    refused = service.get("/billing/usage/export.csv", params=of(holder, separator="|"))
    assert refused.status_code == 422


@pytest.mark.parametrize("separator", ["comma", "semicolon", "tab"])
def test_no_cell_is_a_formula_wherever_columns_are_parted(
    service: httpx.Client, holder: Holder, separator: str
) -> None:
    for start in "=+-@\uff1d":
        workflow = f'a,{start}1;{start}2|"{start}3" ;  {start}4'
        done(ask(service, holder, "consume", 1, f"k{ord(start)}", workflow=workflow))
    export = service.get("/billing/usage/export.csv", params=of(holder, separator=separator))
    for character in ",;|\t":
        cells = [cell for line in export.text.splitlines() for cell in line.split(character)]
        starts = {cell.strip('" ')[:1] for cell in cells}
        assert not starts & set("=+-@\uff1d"), character


def test_reading_does_not_need_the_executions_scope(
    anyone: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    secret = api_key(api_database_url, Scope.PLANS_READ, organization_id=holder.organization_id)
    headers = {"Authorization": f"Bearer {secret}"}
    for path in ("plans/current", "plans/history", "usage", "usage/events", "usage/export.csv"):
        response = anyone.get(f"/billing/{path}", params=of(holder), headers=headers)
        assert response.status_code == 200, path
    refused = anyone.post(CHECK_EXECUTIONS, json=of(holder), headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
