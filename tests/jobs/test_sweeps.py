"""How often what was missed is looked for, and when an account that runs low is announced."""

import asyncio
from typing import Any, cast

import pytest
from pydantic import ValidationError

from billing_app.billing.subscriptions import top_up_watch
from billing_app.billing.subscriptions.top_up_watch import TopUpWatch
from billing_app.jobs.worker import _sweeps
from billing_app.settings import Settings


class LowAccounts:
    """Stands in for TopUps: which accounts are low, and which were announced."""

    def __init__(self) -> None:
        self.low: set[int] = set()
        self.announced: list[list[int]] = []
        self.is_down = False

    async def needed(self, account_ids: list[int], _now: object) -> set[int]:
        if self.is_down:
            raise ConnectionError
        return self.low & set(account_ids)

    async def announce(self, account_ids: list[int]) -> None:
        self.announced.append(account_ids)


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> LowAccounts:
    monkeypatch.setattr(top_up_watch, "GATHER_SECONDS", 0.0)
    return LowAccounts()


@pytest.fixture
def watch(accounts: LowAccounts) -> TopUpWatch:
    return TopUpWatch(cast("Any", accounts))


async def _spend(watch: TopUpWatch, *account_ids: int) -> None:
    watch.spent(account_ids)
    looking = watch._looking
    if looking is not None:
        await asyncio.wait([looking])


@pytest.mark.parametrize(("seconds", "cron"), [(60, "* * * * *"), (15, "*/15 * * * * *")])
def test_sweeps_are_as_far_apart_as_set(seconds: int, cron: str) -> None:
    assert {sweep.get("schedule") for sweep in _sweeps(seconds)} == {cron}


def test_sweeps_divide_a_minute() -> None:
    with pytest.raises(ValidationError, match="must divide 60"):
        Settings(trial_plan_executions=1, public_org_id="public", sweep_seconds=7)


async def test_account_below_threshold_is_announced(
    accounts: LowAccounts, watch: TopUpWatch
) -> None:
    await _spend(watch, 1, 2)
    assert accounts.announced == []
    accounts.low = {1}
    await _spend(watch, 1, 2)
    await _spend(watch, 1)
    assert accounts.announced == [[1]]
    accounts.low = set()
    await _spend(watch, 1)
    accounts.low = {1, 2}
    await _spend(watch, 2, 1)
    assert accounts.announced == [[1], [1, 2]]


async def test_failed_check_is_repeated(accounts: LowAccounts, watch: TopUpWatch) -> None:
    accounts.low, accounts.is_down = {1}, True
    await _spend(watch, 1)
    accounts.is_down = False
    await _spend(watch, 1)
    assert accounts.announced == [[1]]


async def test_no_check_runs_without_usage(watch: TopUpWatch) -> None:
    watch.spent([])
    assert watch._looking is None
    await watch.close()
