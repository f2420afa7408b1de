"""A database that takes questions and never answers holds up no page beyond its patience."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import pytest
from reflex.event import Event
from reflex.state import State
from sqlalchemy import text

from billing_app.db.engine import CANCEL_TIMEOUT_SECONDS, Database
from billing_app.settings import Settings
from billing_app.states import change_polling, session
from billing_app.states.billing_dashboard import BillingDashboardState
from billing_app.states.session import CircuitBreaker, SessionGuard, SessionState
from tests.postgres import OwnServer, own_server

PATIENCE_SECONDS = 0.3
RETRY_SECONDS = 0.5
# Of a busy machine; the driver alone would wait ten.
MARGIN_SECONDS = 4.0
WITHIN_SECONDS = PATIENCE_SECONDS + CANCEL_TIMEOUT_SECONDS + MARGIN_SECONDS
OWNER = "usr_1"


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_server("p@ss") as server:
        yield server


@pytest.fixture
async def frozen(
    server: OwnServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Database]:
    """The pages' database with an open connection, hanging since."""
    database = Database(server.url())
    patient = settings.model_copy(
        update={"page_patience_seconds": PATIENCE_SECONDS, "page_retry_seconds": RETRY_SECONDS}
    )
    services = SimpleNamespace(database=database, settings=patient)
    for module in (session, change_polling):
        monkeypatch.setattr(module, "get_services", lambda: services)
    monkeypatch.setattr(session, "_breaker", CircuitBreaker())
    monkeypatch.setattr(SessionState, "_token", lambda _: "a token")
    await ask(database)
    server.freeze()
    yield database
    server.thaw()
    await database.dispose()


@pytest.fixture
def tab() -> State:
    """The state of a tab that shows OWNER's dashboard."""
    root = State(_reflex_internal_init=True)  # pyright: ignore[reportCallIssue]
    of_session(root)._owner_id = OWNER
    of_session(root)._owner_proof = session._proof("a token")
    return root


def of_session(root: State) -> SessionState:
    found = root.get_substate(SessionState.get_full_name().split("."))
    assert isinstance(found, SessionState)
    return found


async def ask(database: Database) -> None:
    async with database.reading() as reading:
        await (await reading.connection()).execute(text("SELECT 1"))


async def guard(tab: State) -> object:
    event = Event(name=f"{BillingDashboardState.get_full_name()}.watch", payload={})
    return await SessionGuard().preprocess(SimpleNamespace(), tab, event)  # pyright: ignore[reportArgumentType]


async def test_cancelled_query_does_not_wait_for_a_hanging_server(frozen: Database) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ask(frozen)
    assert time.monotonic() - began < WITHIN_SECONDS


@pytest.mark.usefixtures("frozen")
async def test_guard_gives_up_and_lets_the_handler_try(tab: State) -> None:
    """It holds the lock of the tab's state meanwhile: the page can't change what it shows."""
    began = time.monotonic()
    assert await guard(tab) is None
    assert PATIENCE_SECONDS < time.monotonic() - began < WITHIN_SECONDS


@pytest.mark.usefixtures("frozen")
async def test_page_is_marked_as_old_right_after_its_guard_gave_up(
    tab: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tab.get_substate(BillingDashboardState.get_full_name().split("."))
    assert isinstance(page, BillingDashboardState)
    page.is_ready, page.is_broken = True, False
    await guard(tab)
    asked: list[Database] = []
    monkeypatch.setattr(Database, "reading", asked.append)
    await page._refresh(only_news=True)
    assert page.is_broken
    assert asked == []


@pytest.mark.usefixtures("frozen")
async def test_page_at_rest_is_marked_as_old_within_its_patience(tab: State) -> None:
    page = tab.get_substate(BillingDashboardState.get_full_name().split("."))
    assert isinstance(page, BillingDashboardState)
    page.is_ready, page.is_broken = True, False
    began = time.monotonic()
    await page._refresh(only_news=True)
    assert page.is_broken
    assert time.monotonic() - began < WITHIN_SECONDS


async def test_database_is_asked_again_after_a_while(
    frozen: Database, server: OwnServer, tab: State
) -> None:
    await guard(tab)
    server.thaw()
    await asyncio.sleep(RETRY_SECONDS)
    asked: list[str] = []

    async def visit(database: Database, token: str, _now: object) -> None:
        await ask(database)
        asked.append(token)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.viewing, "visit", visit)
        assert await of_session(tab)._visitor() is None
    assert asked == ["a token"]
    assert frozen is session.get_services().database
