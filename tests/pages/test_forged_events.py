"""Anyone can open a socket and send events: without a session they get nothing."""

import json
import re
import secrets

import pytest
from playwright.sync_api import StorageState, WebSocket
from reflex.state import BaseState

from billing_app import routes
from billing_app.demo.seed import OWNER_EMAIL
from billing_app.states.billing_dashboard import BillingDashboardState
from billing_app.states.billing_overview import BillingOverviewState
from billing_app.states.details import DetailsState
from billing_app.states.session import SessionState
from billing_app.states.usage_stats import UsageStatsState
from tests import factories
from tests.pages.conftest import OpenContext, RunningApp, open_page
from tests.pages.sockets import CONNECT, ForgingSocket, connect, forged, replay

STATES: dict[str, type[BaseState]] = {
    routes.DASHBOARD: BillingDashboardState,
    routes.OVERVIEW: BillingOverviewState,
    routes.USAGE: UsageStatsState,
    routes.DETAILS: DetailsState,
}
POLL_MS = 50
SECRETS = ("Northwind", OWNER_EMAIL, "Growth", "invoice-extraction")


def rename(app: RunningApp) -> None:
    """Give the organization another billing name."""
    with factories.connect(app.database_url) as connection:
        connection.execute(
            "INSERT INTO billing_details (account_id, name) SELECT id, %(name)s FROM accounts"
            " WHERE organization_id = %(organization)s"
            " ON CONFLICT (account_id) DO UPDATE SET name = %(name)s",
            {
                "name": f"Northwind {secrets.token_hex(4)}",
                "organization": app.organization_id,
            },
        )


def recorded(
    open_context: OpenContext, app: RunningApp, session: StorageState, path: str
) -> tuple[str, list[str], list[str]]:
    """The tab's token, what a signed-in browser sent, and what it got: the whole page, and what
    moved on it afterwards."""
    context = open_context(session=session)
    sent: list[str] = []
    received: list[str] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(str(frame)))
        socket.on("framereceived", lambda frame: received.append(str(frame)))

    context.on("page", lambda page: page.on("websocket", listen))
    page = open_page(context, path)
    before = len(received)
    if path == routes.DETAILS:
        rename(app)
    else:
        app.consume(1, workflow="recorded", key=secrets.token_hex(8))
    while len(received) == before:
        page.wait_for_timeout(POLL_MS)
    token = page.evaluate("sessionStorage.getItem('token')")
    context.close()
    return token, [frame for frame in sent if frame.startswith("4")], received


@pytest.mark.parametrize("path", STATES)
def test_events_without_a_session_get_nothing(
    open_context: OpenContext, running_app: RunningApp, owner_session: StorageState, path: str
) -> None:
    token, frames, received = recorded(open_context, running_app, owner_session, path)
    assert any(word in "\n".join(received) for word in SECRETS)
    account_ids = re.findall(r"acc_\w+", "\n".join(received))
    frames += [
        forged(SessionState, "choose_account", path, account_id=account_ids[0]),
        forged(STATES[path], "load", path),
        forged(STATES[path], "watch", path),
    ]
    for forged_token in (secrets.token_hex(16), token):
        answers = replay(running_app, forged_token, frames, path=path)
        assert "sign-in" in answers or "sessionStorage.clear()" in answers
        assert not [word for word in SECRETS if word in answers]


def test_another_users_account_is_not_shown(
    open_context: OpenContext,
    running_app: RunningApp,
    owner_session: StorageState,
    trial_session: StorageState,
) -> None:
    """A person signed in, who asks for an account that is not theirs."""
    _, _, received = recorded(open_context, running_app, owner_session, routes.DASHBOARD)
    account_id = re.findall(r"acc_\w+", "\n".join(received))[0]
    page = open_page(open_context(session=trial_session), routes.DASHBOARD)
    cookie = trial_session.get("cookies", [])[0]
    cookie = f"{cookie.get('name')}={cookie.get('value')}"
    with ForgingSocket(running_app, routes.DASHBOARD, cookie=cookie) as socket:
        socket.send(CONNECT)
        socket.send_event(SessionState, "choose_account", account_id=account_id)
        socket.send_event(BillingDashboardState, "load")
        socket.settle()
    answers = socket.text
    page.close()
    assert "Ada Lovelace" in answers
    assert not [word for word in SECRETS[:3] if word in answers]


def test_foreign_origin_cannot_open_the_socket(running_app: RunningApp) -> None:
    with pytest.raises(Exception, match=r"(?i)40[03]|closed|reject"):
        connect(running_app, "x", {"Origin": "https://evil.example"})


def test_session_cookie_never_reaches_the_page(
    open_context: OpenContext, running_app: RunningApp, owner_session: StorageState
) -> None:
    secret = [
        cookie.get("value", "")
        for cookie in owner_session.get("cookies", [])
        if cookie.get("name") == routes.SESSION_COOKIE
    ]
    _, _, received = recorded(open_context, running_app, owner_session, routes.DASHBOARD)
    assert secret
    assert secret[0] not in json.dumps(received)
