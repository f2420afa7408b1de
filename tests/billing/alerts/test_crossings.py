"""Decisions raise exactly the alerts that a replay of the ledger does, one for each crossing."""

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_app.billing.alerts.rules import (
    Level,
    OveragePrice,
    Rule,
    RuleSet,
    Watched,
    is_met,
)
from billing_app.billing.executions.decide import decide
from billing_app.billing.executions.event_rows import Part
from billing_app.billing.executions.requests import Mode, Refund, Request
from billing_app.billing.executions.state import AccountState, EventState, LedgerState
from billing_app.billing.executions.verification import verify
from billing_app.billing.plans.inserting import insert_plan
from billing_app.db.enums import AlertKind, PlanSource, PlanType
from billing_app.db.tables import Plan
from tests.billing.alerts.deciding import Decider, deciders
from tests.billing.alerts.rows import NUMBER, SHARE, alerts, events, own_rules, rules_raised
from tests.factories import (
    NOW,
    PLATFORM,
    PLATFORM_SERVICE,
    Holder,
    check_request,
    connect,
    organization,
    plan,
)

RULES = (Rule(SHARE, 50), Rule(SHARE, 20), Rule(NUMBER, 5), Rule(NUMBER, 0))


@dataclass
class Replay:
    """The brute force: what of each plan is used, and which rules the balance meets."""

    rules: tuple[Rule, ...]
    executions: dict[int, int] = field(default_factory=dict[int, int])
    used: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    raised: list[str] = field(default_factory=list[str])

    @property
    def begun_below(self) -> set[str]:
        """Rules that were never crossed: the balance began at or below their thresholds."""
        return {rule.key for rule in self.rules} - set(self.raised)

    def level(self) -> tuple[int, int]:
        open_plans = [each for each in self.executions if self.used[each] < self.executions[each]]
        total = sum(self.executions[each] for each in open_plans)
        return total - sum(self.used[each] for each in open_plans), total

    def met(self) -> set[str]:
        left, total = self.level()
        return {
            rule.key
            for rule in self.rules
            if (rule.kind == NUMBER and left <= rule.value)
            or (rule.kind == SHARE and left / (total or 1) <= rule.value / 100)
        }

    def use(self, parts: list[tuple[int, int]]) -> None:
        before = self.met()
        for sequence, executions in parts:
            self.used[sequence] += executions
        after = self.met()
        self.raised += [rule.key for rule in self.rules if rule.key in after - before]


Batches = list[list[tuple[bool, int]]]


@settings(max_examples=300, deadline=None)
@given(
    plans=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    batches=st.lists(
        st.lists(st.tuples(st.booleans(), st.integers(1, 12)), min_size=1, max_size=6),
        max_size=8,
    ),
)
def test_any_order_of_consumes_and_refunds_raises_what_a_replay_does(
    plans: list[int], batches: Batches
) -> None:
    replay = Replay(RULES, dict(enumerate(plans, 1)))
    account = AccountState(1, "org", [plan(n, count) for n, count in enumerate(plans, 1)])
    account.watched = Watched(RuleSet(RULES))
    past: dict[tuple[int, int], EventState] = {}
    raised: list[str] = []
    for number, batch in enumerate(batches):
        ledger = LedgerState.empty(NOW)
        ledger.accounts = {1: account}
        ledger.targets = {("org", ""): 1}
        ledger.events = past
        requests: list[Request] = []
        for place, (is_refund, executions) in enumerate(batch):
            key = f"{number}-{place}"
            if is_refund and past:
                event = list(past)[executions % len(past)]
                requests.append(Refund(*event, min(executions, 3), "", key, PLATFORM))
            else:
                requests.append(check_request(Mode.CONSUME, executions, key))
        _, changes = decide(requests, ledger)
        for event in changes.events:
            if event.kind == "consume":
                state = past.setdefault(
                    (1, event.number), EventState(1, event.number, 0, "", "", [])
                )
                state.executions += event.executions
                state.parts.append(Part(event.plan_sequence, event.executions))
        parts: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for event in changes.events:
            parts[event.number].append((event.plan_sequence, event.executions))
        for its in parts.values():
            replay.use(its)
        raised += [each.key for each in changes.crossings if each.rule and each.is_met]
    assert raised == replay.raised
    assert replay.level()[0] == sum(each.executions - each.used for each in account.plans)


def test_overage_counts_in_its_own_currency() -> None:
    price = OveragePrice(unit_minor=200, unit_executions=100, currency="EUR")
    rule = Rule(AlertKind.OVERAGE_SPENT, 400, "EUR")
    assert not is_met(rule, Level(0, 0, 100), price)
    assert is_met(rule, Level(0, 0, 101), price)
    assert not is_met(Rule(AlertKind.OVERAGE_SPENT, 400, "USD"), Level(0, 0, 101), price)
    assert not is_met(rule, Level(0, 0, 101), None)


@pytest.mark.parametrize("seed", range(3))
async def test_processes_in_turn_raise_what_a_replay_of_the_ledger_does(
    own_database_url: str, seed: int
) -> None:
    url, rng = own_database_url, random.Random(seed)  # noqa: S311 - the same each run
    holder = organization(url, 40, 25)
    own_rules(url, holder, *RULES)
    replay = Replay(RULES, {1: 40, 2: 25})
    seen, consumed = 0, list[str]()
    async with deciders(url, 3) as processes:
        for step in range(50):
            process = processes[rng.randrange(3)]
            if rng.random() < 0.05:
                sequence, executions = len(replay.executions) + 1, rng.randint(1, 40)
                await _grant(process, holder, sequence, executions)
                replay.executions[sequence] = executions
            elif consumed and rng.random() < 0.4:
                await process.refund(rng.choice(consumed), rng.randint(1, 6), str(step))
            elif event := await process.consume(holder, rng.randint(1, 9), str(step)):
                consumed.append(event)
            seen = _replay(url, holder, replay, after=seen)
        differences = await verify(processes[0].database)
    assert rules_raised(url, holder) == replay.raised
    uncleared = [rule for rule, _, is_cleared in alerts(url, holder) if not is_cleared]
    assert set(uncleared) == replay.met() - replay.begun_below
    assert len(set(uncleared)) == len(uncleared)
    assert differences == []


@pytest.mark.parametrize("seed", range(3))
async def test_processes_at_once_raise_what_a_replay_of_the_ledger_does(
    own_database_url: str, seed: int
) -> None:
    url, rng = own_database_url, random.Random(seed)  # noqa: S311 - the same each run
    holder = organization(url, 200)
    rules = (Rule(SHARE, 60), Rule(NUMBER, 120), Rule(NUMBER, 60))
    own_rules(url, holder, *rules)
    replay = Replay(rules, {1: 200})
    seen, consumed = 0, list[str]()
    async with deciders(url, 3) as processes:
        for step in range(12):
            chosen = [rng.choice(consumed) for _ in range(rng.randint(0, 4)) if consumed]
            refunds = [
                processes[rng.randrange(3)].refund(each, rng.randint(1, 6), f"{step}-r{place}")
                for place, each in enumerate(chosen)
            ]
            consumes = [
                processes[rng.randrange(3)].consume(holder, rng.randint(1, 8), f"{step}-{place}")
                for place in range(rng.randint(1, 5))
            ]
            results = await asyncio.gather(*refunds, *consumes)
            consumed += [each for each in results[len(refunds) :] if each]
            seen = _replay(url, holder, replay, after=seen)
    assert rules_raised(url, holder) == replay.raised


async def _grant(process: Decider, holder: Holder, sequence: int, executions: int) -> None:
    plan = Plan(
        account_id=holder.account_number,
        sequence=sequence,
        type=PlanType.PAID,
        name="Grant",
        source=PlanSource.STAFF_GRANT,
        executions=executions,
        starts_at=datetime.now(UTC) - timedelta(minutes=1),
        created_at=datetime.now(UTC),
    )
    async with process.database.transaction() as session:
        await insert_plan(session, plan)


def _replay(url: str, holder: Holder, replay: Replay, *, after: int) -> int:
    """The events since then, in the order of the ledger; the last one's number."""
    with connect(url) as connection:
        rows = connection.execute(
            "SELECT number, array_agg(plan_sequence), array_agg(executions)"
            " FROM execution_events WHERE account_id = %s AND number > %s GROUP BY 1 ORDER BY 1",
            [holder.account_number, after],
        ).fetchall()
    for _, sequences, executions in rows:
        replay.use(list(zip(sequences, executions, strict=True)))
    return max((row[0] for row in rows), default=after)


async def test_crossing_is_written_with_its_figures_and_events(own_database_url: str) -> None:
    url = own_database_url
    holder = organization(url, 10)
    own_rules(url, holder, Rule(SHARE, 40))
    async with deciders(url, 1) as (process,):
        await process.consume(holder, 4, "a")
        assert alerts(url, holder) == []
        event = await process.consume(holder, 2, "b")
        figures = {"threshold": 40, "executions_left": 4, "executions_total": 10}
        assert alerts(url, holder) == [("remaining_share:40", figures, False)]
        await process.consume(holder, 2, "b")
        await process.consume(holder, 1, "c")
        assert len(alerts(url, holder)) == 1
        await process.refund(event, None, "d")
        assert alerts(url, holder) == [("remaining_share:40", figures, True)]
        await process.consume(holder, 5, "e")
    assert [row[2] for row in alerts(url, holder)] == [True, False]
    assert [row[0] for row in events(url, holder)] == [
        "balance.low",
        "balance.recovered",
        "balance.depleted",
        "balance.low",
        "plan.ended",
    ]


async def test_new_plan_arms_the_rule_again(own_database_url: str) -> None:
    url = own_database_url
    holder = organization(url, 10)
    own_rules(url, holder, Rule(NUMBER, 3))
    async with deciders(url, 1) as (process,):
        await process.consume(holder, 8, "a")
        await _grant(process, holder, 2, 10)
        await process.consume(holder, 10, "b")
    assert rules_raised(url, holder) == ["remaining_number:3"] * 2


async def test_held_executions_count_as_left(own_database_url: str) -> None:
    url = own_database_url
    holder = organization(url, 10)
    own_rules(url, holder, Rule(NUMBER, 3))
    async with deciders(url, 1) as (process,):
        request = check_request(Mode.RESERVE, 9, "a", organization_id=holder.organization_id)
        await process.executions.decide(PLATFORM_SERVICE, request)
        await process.consume(holder, 1, "b")
    assert rules_raised(url, holder) == []


async def test_10000_executions_across_3_thresholds(own_database_url: str) -> None:
    url = own_database_url
    holder = organization(url, 10_000)
    rules = (Rule(SHARE, 75), Rule(SHARE, 50), Rule(NUMBER, 100))
    own_rules(url, holder, *rules)

    async def consume(process: Decider, name: int) -> None:
        for number in range(25):
            batch = [process.consume(holder, 1, f"{name}-{number}-{n}") for n in range(100)]
            await asyncio.gather(*batch)

    async with deciders(url, 4) as processes:
        await asyncio.gather(*[consume(each, n) for n, each in enumerate(processes)])
    assert rules_raised(url, holder) == [rule.key for rule in rules]
    assert [row[1]["executions_left"] for row in alerts(url, holder)] == [7_500, 5_000, 100]


async def test_account_without_rules_is_depleted_without_an_alert(own_database_url: str) -> None:
    url = own_database_url
    holder = organization(url, 2)
    async with deciders(url, 1) as (process,):
        await process.consume(holder, 2, str(uuid4()))
    assert alerts(url, holder) == []
    assert "balance.depleted" in [row[0] for row in events(url, holder)]
