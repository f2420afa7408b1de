"""Figures and words: pure functions of what they are given."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.actors import UserActor
from billing_app.billing.subscriptions.forecast import Pace
from billing_app.billing.usage.service import DailyRow, Days, EventView
from billing_app.components.charts.executions import (
    FEW,
    MAX_SERIES,
    OTHERS,
    REFUNDED,
    UNNAMED,
    YOU,
    by_day_and_group,
    cumulative,
    executions_per_day,
    label_of,
)
from billing_app.db.enums import EventKind
from billing_app.states import formatting
from billing_app.states.usage_views import (
    average_text,
    day_rows,
    days_table,
    event_rows,
    past_retention,
    person,
    refunded_by_day,
    series_keys,
    used_before,
    used_table,
    used_text,
)

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 5)
VIEWER = UserActor("usr_me", "Me", "me@example.com")
LIKE_OURS = ["", "Other", "other ", "You", "Unnamed", "“Other”", "““Other””", "“You”", "“"]


def traces(figure: go.Figure) -> list[dict[str, Any]]:
    """The figure's data as plotly.js gets it."""
    return json.loads(figure.to_json() or "")["data"]


def rows(*counts: tuple[int, str, int]) -> list[DailyRow]:
    """(day of March, group, used)."""
    return [DailyRow(date(2026, 3, day), group, used, 0, 0) for day, group, used in counts]


@pytest.mark.parametrize(
    ("kept_from", "text"),
    [
        (None, ""),
        (FIRST, ""),
        (LAST, "Usage before 5 March 2026 is past its retention and may be missing."),
    ],
)
def test_range_from_before_the_retention_is_told(kept_from: date | None, text: str) -> None:
    assert past_retention(Days(FIRST, LAST), kept_from) == text


@pytest.mark.parametrize(
    ("net", "days", "text"),
    [
        (0, 7, "0"),
        (3, 7, "0.4"),
        (1, 365, "< 0.1"),
        (14, 7, "2"),
        (75, 7, "11"),
        (99_000, 30, "3,300"),
        (-3, 7, "-0.4"),
    ],
)
def test_small_averages_are_not_rounded_to_nothing(net: int, days: int, text: str) -> None:
    assert average_text(net, days) == text


@pytest.mark.parametrize(("executions", "step"), [(1, 1), (FEW, 1), (FEW + 1, None)])
def test_axis_counts_in_whole_executions(executions: int, step: int | None) -> None:
    table = used_table(rows((2, "a", executions)), FIRST, LAST)
    for figure in (executions_per_day(table), cumulative(table)):
        assert json.loads(figure.to_json() or "")["layout"]["yaxis"].get("dtick") == step


def test_table_covers_every_day_and_loses_nothing() -> None:
    table = days_table(rows((1, "a", 3), (4, "b", 5), (4, "", 1)), FIRST, LAST)
    assert list(table.columns) == ["a", "b", UNNAMED]
    assert len(table) == 5
    assert int(table.to_numpy().sum()) == 9


def test_group_with_only_denials_is_not_drawn() -> None:
    refused = DailyRow(date(2026, 3, 2), "backfill", 0, 0, 7)
    table = days_table([*rows((1, "a", 3)), refused], FIRST, LAST)
    assert list(table.columns) == ["a"]
    assert len(table) == 5


def test_small_groups_are_merged_last() -> None:
    many = rows(*[(1, f"w{number:02}", 100 - number) for number in range(MAX_SERIES + 4)])
    table = days_table(many, FIRST, LAST)
    assert len(table.columns) == MAX_SERIES + 1
    assert table.columns[-1] == OTHERS
    assert int(table.to_numpy().sum()) == sum(row.used for row in many)
    assert series_keys(table)[-1].slot == MAX_SERIES
    assert [key.name for key in series_keys(table)[:2]] == ["w00", "w01"]


@given(st.sets(st.one_of(st.text(max_size=8), st.sampled_from(LIKE_OURS)), max_size=9))
def test_no_two_groups_share_a_label(names: set[str]) -> None:
    labels = [label_of(name) for name in names]
    assert len({*labels, OTHERS, YOU}) == len(names) + 2


def test_workflows_named_like_our_labels_keep_their_own_bars() -> None:
    many = rows(*[(1, f"w{number}", 1) for number in range(MAX_SERIES)])
    table = days_table([*many, *rows((1, "Other", 7), (1, "Unnamed", 5), (1, "", 3))], FIRST, LAST)
    keys = {key.name: key.total for key in series_keys(table)}
    assert len(keys) == MAX_SERIES + 1
    assert (keys["“Other”"], keys["“Unnamed”"], keys[UNNAMED], keys[OTHERS]) == ("7", "5", "3", "3")


def test_user_called_you_is_not_the_viewer() -> None:
    assert person("You", VIEWER) != person("usr_me", VIEWER)


def test_group_keeps_its_color_when_overtaken() -> None:
    before = days_table(rows((1, "a", 9), (1, "B", 5), (1, "c", 1)), FIRST, LAST)
    after = days_table(rows((1, "a", 9), (1, "B", 50), (1, "c", 10)), FIRST, LAST)
    assert list(before.columns) == list(after.columns) == ["a", "B", "c"]
    assert [key.name for key in series_keys(before)] == ["a", "B", "c"]
    assert [(key.name, key.slot) for key in series_keys(after)] == [("B", 1), ("c", 2), ("a", 0)]
    assert [trace["name"] for trace in traces(executions_per_day(after))] == ["a", "B", "c"]


def test_merged_group_comes_last_however_large() -> None:
    few = rows(*[(1, f"w{number}", 5) for number in range(MAX_SERIES)])
    many = rows(*[(1, f"x{number}", 4) for number in range(MAX_SERIES)])
    keys = series_keys(days_table([*few, *many], FIRST, LAST))
    assert (keys[-1].name, keys[-1].total, keys[-1].slot) == (OTHERS, "24", MAX_SERIES)


def test_no_rows_give_an_empty_figure() -> None:
    table = by_day_and_group(
        pd.DataFrame(columns=["day", "group", "executions"]),
        first=pd.Timestamp(FIRST),
        last=pd.Timestamp(LAST),
    )
    assert traces(executions_per_day(table)) == []
    assert traces(cumulative(table))[0]["y"] == [0] * 5


def test_bars_match_the_table_and_skip_empty_days() -> None:
    [bars] = traces(executions_per_day(days_table(rows((2, "a", 7)), FIRST, LAST)))
    assert bars["y"] == [None, 7, None, None, None]
    assert bars["x"][1] == "2026-03-02"


def test_refund_is_apart_from_the_bars() -> None:
    found = [*rows((2, "a", 7)), DailyRow(date(2026, 3, 3), "a", 0, 2_419, 0)]
    table, refunded = used_table(found, FIRST, LAST), refunded_by_day(found, FIRST, LAST)
    figure = executions_per_day(table, refunded)
    bars, marks = traces(figure)
    assert bars["y"] == [None, 7, None, None, None]
    assert figure.layout.xaxis.range == ("2026-02-28T12:00:00", "2026-03-05T12:00:00")
    assert (marks["name"], marks["y"]) == (REFUNDED, [None, None, 2_419, None, None])
    assert min(traces(cumulative(table))[0]["y"]) >= 0
    assert used_text(found) == "7 used, 2,419 refunded"
    assert used_text(rows((2, "a", 7))) == "7 used"
    assert len(traces(executions_per_day(table, refunded_by_day(rows(), FIRST, LAST)))) == 1


def test_cumulative_line_starts_at_prior_use_below_the_limit() -> None:
    table = days_table(rows((1, "a", 2), (5, "a", 4)), FIRST, LAST)
    line, limit = traces(cumulative(table, already_used=10, limit=50))
    assert line["y"] == [12, 12, 12, 12, 16]
    assert set(limit["y"]) == {50}


def test_cumulative_line_of_one_day_starts_the_day_before() -> None:
    figure = cumulative(days_table(rows((1, "a", 7)), FIRST, FIRST), already_used=3)
    [line] = traces(figure)
    assert line["x"] == ["2026-02-28", "2026-03-01"]
    assert line["y"] == [3, 10]
    assert list(figure.layout.xaxis.tickvals) == ["2026-02-28", "2026-03-01"]
    first, last = figure.layout.xaxis.range
    assert (first[:10], last[:10]) == ("2026-02-27", "2026-03-01")


@pytest.mark.parametrize(
    ("counts", "used", "drawn"),
    [
        ([(1, 4), (5, 6)], 15, [9, 9, 9, 9, 15]),
        ([(1, 40), (5, 6)], 10, [4, 4, 4, 4, 10]),
        ([(1, 40), (5, 6)], 6, [0, 0, 0, 0, 6]),
        ([(1, 2), (5, 60)], 10, None),
    ],
)
def test_cumulative_line_ends_at_the_plan_usage(
    counts: list[tuple[int, int]], used: int, drawn: list[int] | None
) -> None:
    table = days_table(rows(*[(day, "a", count) for day, count in counts]), FIRST, LAST)
    before = used_before(table, used)
    if before is None:
        assert drawn is None
        return
    line, _ = traces(cumulative(table, already_used=before, limit=50))
    assert line["y"] == drawn


def test_cumulative_line_of_a_new_plan_starts_at_zero() -> None:
    table = days_table(rows((1, "a", 44)), FIRST, FIRST)
    before = used_before(table, 10)
    assert before == -34
    [line] = traces(cumulative(table, already_used=before))
    assert line["y"] == [0, 10]


def test_days_are_totaled_newest_first() -> None:
    found = day_rows(rows((1, "a", 1200), (2, "a", 1), (2, "b", 2)))
    assert [(row.day, row.net) for row in found] == [
        ("Mon 2 Mar 2026", "3"),
        ("Sun 1 Mar 2026", "1,200"),
    ]


def event(number: int, user_id: str = "") -> EventView:
    return EventView(
        id=f"evt_{number}",
        kind=EventKind.CONSUME,
        executions=1,
        workflow="w",
        user_id=user_id,
        idempotency_key="",
        plan_ids=[],
        remaining_after=10,
        refers_to=None,
        reason="",
        occurred_at=datetime(2026, 3, 1, 14, 3, 22, tzinfo=UTC),
        number=number,
    )


def test_only_newer_events_are_marked_as_new() -> None:
    shown = event_rows([event(2), event(1)], [], VIEWER)
    assert not any(row.is_new for row in shown)
    moved = event_rows([event(4), event(3), event(2)], shown, VIEWER)
    assert [row.is_new for row in moved] == [True, True, False]
    assert event_rows([event(4), event(3), event(2)], moved, VIEWER) is moved


def test_own_user_id_is_shown_as_you() -> None:
    [mine, other] = event_rows([event(2, "usr_me"), event(1, "usr_x")], [], VIEWER)
    assert (mine.user, other.user) == ("You", "usr_x")


@pytest.mark.parametrize(
    ("pace", "said"),
    [
        (Pace(0.0, None, None), ""),
        (Pace(40.0, 9, LAST), "about 9 days at this pace"),
        (Pace(40.0, 1, LAST), "about 1 day at this pace"),
        (Pace(40.0, 0, LAST), "less than a day at this pace"),
        (Pace(0.5, 4000, LAST), "more than a year at this pace"),
        (Pace(0.5, None, None), "more than a year at this pace"),
    ],
)
def test_remaining_days_are_worded(pace: Pace, said: str) -> None:
    assert formatting.days_left(pace) == said


def test_numbers_and_names_are_formatted() -> None:
    assert formatting.number(-1234567) == "\N{MINUS SIGN}1,234,567"
    assert formatting.counted(1, "execution") == "1 execution"
    assert formatting.day(date(2025, 12, 4)) == "4 December 2025"
    assert formatting.initials("Ada Lovelace") == "AL"
    assert formatting.initials("ada@example.com") == "A"
