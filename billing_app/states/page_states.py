"""Page states in memory: those of visitors without a session are kept for seconds, and only so
many of them.

Each websocket token gets the state of a whole page, whoever sends it. Pages for visitors post
their forms without events, so they lose nothing with their state.
"""

import asyncio
import dataclasses
from typing import Any

from reflex.istate.manager.memory import StateManagerMemory
from reflex.istate.manager.token import StateToken
from reflex.state import State

from billing_app.settings import load_settings
from billing_app.states.session import SessionState

AGAIN_SECONDS = 1.0


@dataclasses.dataclass
class PageStates(StateManagerMemory):
    """A state counts as a visitor's until somebody's session has been seen in it."""

    _visitors: dict[str, tuple[asyncio.TimerHandle, StateToken[Any]]] = dataclasses.field(
        default_factory=dict[str, Any], init=False
    )

    def _track_token(self, token: StateToken[Any]) -> None:
        """Called around each event."""
        super()._track_token(token)
        self._stop_timer(token)
        if is_visitors(self.states.get(token.cache_key)):
            self._start_timer(token, load_settings().visitor_state_seconds)
            self._make_room()

    def _purge_token(self, token: StateToken[Any]) -> None:
        self._stop_timer(token)
        super()._purge_token(token)

    def _start_timer(self, token: StateToken[Any], seconds: float) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, self._forget, token)
        self._visitors[token.cache_key] = (timer, token)

    def _stop_timer(self, token: StateToken[Any]) -> None:
        found = self._visitors.pop(token.cache_key, None)
        if found is not None:
            found[0].cancel()

    def _make_room(self) -> None:
        """The visitors that have been quiet longest go first."""
        surplus = len(self._visitors) - load_settings().visitor_states_max
        for _, token in list(self._visitors.values())[: max(0, surplus)]:
            self._forget(token)

    def _forget(self, token: StateToken[Any]) -> None:
        """Not while an event is being handled: its state is looked at again shortly."""
        self._stop_timer(token)
        lock = self._states_locks.get(token.lock_key)
        if lock is not None and lock.locked():
            self._start_timer(token, AGAIN_SECONDS)
        else:
            self._purge_token(token)


def is_visitors(state: object) -> bool:
    if not isinstance(state, State):
        return False
    session = state.substates.get(SessionState.get_name())
    return isinstance(session, SessionState) and not session._owner_id  # noqa: SLF001 - a backend var
