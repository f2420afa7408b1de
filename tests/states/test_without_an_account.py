"""Staff have no account of their own, and may open the customers' pages all the same."""

from types import SimpleNamespace
from typing import Any

import pytest
from reflex.state import State

from billing_app.billing.actors import UserActor
from billing_app.states import change_polling, session
from billing_app.states.billing_dashboard import BillingDashboardState
from billing_app.states.billing_overview import BillingOverviewState
from billing_app.states.change_polling import LivePage
from billing_app.states.session import SessionState
from billing_app.states.support import SupportState

STAFF = UserActor("usr_1", "Sam", "sam@example.com")


async def staff_actor(_: SessionState) -> UserActor:
    return STAFF


async def no_account(*_: Any) -> None:
    return None


@pytest.fixture
def tab(monkeypatch: pytest.MonkeyPatch) -> State:
    settings = SimpleNamespace(page_patience_seconds=1)
    for module in (session, change_polling):
        monkeypatch.setattr(
            module, "get_services", lambda: SimpleNamespace(settings=settings, database=None)
        )
    monkeypatch.setattr(SessionState, "_actor", staff_actor)
    for page in (BillingDashboardState, BillingOverviewState):
        monkeypatch.setattr(page, "_sync_account", no_account)
    return State(_reflex_internal_init=True)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("page", [BillingDashboardState, BillingOverviewState])
async def test_page_reads_nothing_beside(tab: State, page: type[LivePage]) -> None:
    state: Any = tab.get_substate(page.get_full_name().split("."))
    events = await page.load.fn(state)
    assert (state.is_ready, state.has_account, state.is_broken) == (True, False, False)
    assert events == [page.watch]


async def test_support_asks_nothing(tab: State) -> None:
    state: Any = tab.get_substate(SupportState.get_full_name().split("."))
    assert await SupportState.ask.fn(state) is None
    assert state.steps == []
