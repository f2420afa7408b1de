"""Anyone can open a socket and send events: without a session they get nothing."""

import json
import re
import secrets
import time
from typing import Protocol

import pytest
from playwright.sync_api import StorageState, WebSocket
from reflex.state import BaseState
from simple_websocket import Client, ConnectionClosed

from billing_app import routes
from billing_app.demo.seed import OWNER_EMAIL
from billing_app.states.billing_dashboard import BillingDashboardState
from billing_app.states.billing_overview import BillingOverviewState
from billing_app.states.session import SessionState
from billing_app.states.usage_stats import UsageStatsState
from tests.pages.conftest import OpenContext, RunningApp, open_page

STATES: dict[str, type[BaseState]] = {
    routes.DASHBOARD: BillingDashboardState,
    routes.OVERVIEW: BillingOverviewState,
    routes.USAGE: UsageStatsState,
}
LISTEN_MS = 2500
SECRETS = ("Northwind", OWNER_EMAIL, "Growth", "invoice-extraction")


class Reachable(Protocol):
    """An app that runs somewhere."""

    @property
    def base_url(self) -> str: ...


def recorded(
    open_context: OpenContext, session: StorageState, path: str
) -> tuple[str, list[str], list[str]]:
    """The tab's token, what a signed-in browser sent, and what it got."""
    context = open_context(session=session)
    sent: list[str] = []
    received: list[str] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(str(frame)))
        socket.on("framereceived", lambda frame: received.append(str(frame)))

    context.on("page", lambda page: page.on("websocket", listen))
    page = open_page(context, path)
    page.wait_for_timeout(LISTEN_MS)
    token = page.evaluate("sessionStorage.getItem('token')")
    context.close()
    return token, [frame for frame in sent if frame.startswith("4")], received


def forged(state: type[BaseState], handler: str, path: str, /, **payload: object) -> str:
    """The frame of an event that a page never sends by itself."""
    event = {
        "name": f"{state.get_full_name()}.{handler}",
        "payload": payload,
        "router_data": {"pathname": path, "query": {}, "asPath": path},
    }
    return "42/_event," + json.dumps(["event", event])


def connect(app: Reachable, token: str, headers: dict[str, str]) -> Client:
    """A bare socket to where the pages' events go."""
    address = app.base_url.replace("http", "ws", 1)
    socket = Client.connect(
        f"{address}/_event/?token={token}&EIO=4&transport=websocket",
        headers=[(name.encode(), value.encode()) for name, value in headers.items()],
    )
    assert isinstance(socket, Client)
    return socket


def replay(app: Reachable, token: str, frames: list[str], *, cookie: str = "") -> str:
    """Send the frames from a socket, without a cookie or with this; everything that came back."""
    headers = {"Origin": app.base_url} | ({"Cookie": cookie} if cookie else {})
    socket = connect(app, token, headers)
    answers: list[str] = []
    try:
        for frame in frames:
            socket.send(frame)
            time.sleep(0.2)
        end = time.monotonic() + LISTEN_MS / 1000
        while time.monotonic() < end:
            answer = socket.receive(timeout=0.2)
            if answer is not None:
                answers.append(str(answer))
    except ConnectionClosed:
        pass
    finally:
        socket.close()
    return "\n".join(answers)


@pytest.mark.parametrize("path", STATES)
def test_events_without_a_session_get_nothing(
    open_context: OpenContext, running_app: RunningApp, owner_session: StorageState, path: str
) -> None:
    token, frames, received = recorded(open_context, owner_session, path)
    assert any(word in "\n".join(received) for word in SECRETS)
    account_ids = re.findall(r"acc_\w+", "\n".join(received))
    frames += [
        forged(SessionState, "choose_account", path, account_id=account_ids[0]),
        forged(STATES[path], "load", path),
        forged(STATES[path], "watch", path),
    ]
    for forged_token in (secrets.token_hex(16), token):
        answers = replay(running_app, forged_token, frames)
        assert "sign-in" in answers or "sessionStorage.clear()" in answers
        assert not [word for word in SECRETS if word in answers]


def test_another_persons_account_is_not_shown(
    open_context: OpenContext,
    running_app: RunningApp,
    owner_session: StorageState,
    trial_session: StorageState,
) -> None:
    """A person signed in, who asks for an account that is not theirs."""
    _, _, received = recorded(open_context, owner_session, routes.DASHBOARD)
    account_id = re.findall(r"acc_\w+", "\n".join(received))[0]
    page = open_page(open_context(session=trial_session), routes.DASHBOARD)
    cookie = trial_session.get("cookies", [])[0]
    headers = {
        "Origin": running_app.base_url,
        "Cookie": f"{cookie.get('name')}={cookie.get('value')}",
    }
    socket = connect(running_app, secrets.token_hex(16), headers)
    socket.send("40/_event,")
    for frame in (
        forged(SessionState, "choose_account", routes.DASHBOARD, account_id=account_id),
        forged(BillingDashboardState, "load", routes.DASHBOARD),
    ):
        time.sleep(0.3)
        socket.send(frame)
    answers = ""
    while (answer := socket.receive(timeout=2)) is not None:
        answers += str(answer)
    socket.close()
    page.close()
    assert "Ada Lovelace" in answers
    assert not [word for word in SECRETS[:3] if word in answers]


def test_a_foreign_page_cannot_open_the_socket(running_app: RunningApp) -> None:
    with pytest.raises(Exception, match=r"(?i)40[03]|closed|reject"):
        connect(running_app, "x", {"Origin": "https://evil.example"})


def test_the_cookie_never_reaches_the_page(
    open_context: OpenContext, owner_session: StorageState
) -> None:
    secret = [
        cookie.get("value", "")
        for cookie in owner_session.get("cookies", [])
        if cookie.get("name") == routes.SESSION_COOKIE
    ]
    _, _, received = recorded(open_context, owner_session, routes.DASHBOARD)
    assert secret
    assert secret[0] not in json.dumps(received)
