"""Page states of visitors without a session: kept for seconds, only so many; others stay."""

import asyncio
import secrets
from collections.abc import Iterator

import pytest
from reflex.istate.manager.token import BaseStateToken
from reflex.state import State

from billing_app.settings import Settings, load_settings
from billing_app.states import page_states
from billing_app.states.page_states import PageStates
from billing_app.states.session import SessionState

SECONDS, MOST = 0.2, 5


@pytest.fixture(autouse=True)
def _short_lives(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    short = {"visitor_state_seconds": SECONDS, "visitor_states_max": MOST}
    settings = Settings(trial_plan_executions=1, public_org_id="public").model_copy(update=short)
    monkeypatch.setattr(page_states, "load_settings", lambda: settings)
    monkeypatch.setattr(page_states, "AGAIN_SECONDS", SECONDS)
    yield
    load_settings.cache_clear()


def new_token() -> BaseStateToken:
    return BaseStateToken(ident=secrets.token_hex(8), cls=State)


async def visit(states: PageStates, *, owner: str = "") -> BaseStateToken:
    token = new_token()
    async with states.modify_state(token) as root:
        (await root.get_state(SessionState))._owner_id = owner
    return token


async def test_visitors_are_forgotten_and_people_are_not() -> None:
    states = PageStates()
    theirs = await visit(states, owner="usr_ann")
    for _ in range(3):
        await visit(states)
    assert len(states.states) == 4
    await asyncio.sleep(4 * SECONDS)
    assert list(states.states) == [theirs.cache_key]
    assert states._visitors == {}
    await states.close()


async def test_only_so_many_visitors_are_kept() -> None:
    states = PageStates()
    theirs = await visit(states, owner="usr_ann")
    visitors = [await visit(states) for _ in range(3 * MOST)]
    kept = [token.cache_key for token in visitors[-MOST:]]
    assert list(states.states) == [theirs.cache_key, *kept]
    await states.close()


async def test_state_is_not_taken_from_an_event_under_way() -> None:
    states, token = PageStates(), new_token()
    async with states.modify_state(token) as root:
        await asyncio.sleep(3 * SECONDS)
        for _ in range(2 * MOST):
            await visit(states)
        assert states.states[token.cache_key] is root
        (await root.get_state(SessionState))._owner_id = "usr_ann"
    await asyncio.sleep(3 * SECONDS)
    assert list(states.states) == [token.cache_key]
    await states.close()


async def test_visitor_who_signs_in_is_kept() -> None:
    states = PageStates()
    token = await visit(states)
    async with states.modify_state(token) as root:
        (await root.get_state(SessionState))._owner_id = "usr_ann"
    await asyncio.sleep(3 * SECONDS)
    assert token.cache_key in states.states
    await states.close()
