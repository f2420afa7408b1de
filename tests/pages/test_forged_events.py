"""Anyone can open a socket and send events: without a session they get nothing."""

import json
import secrets
import time

import pytest
from playwright.sync_api import StorageState
from simple_websocket import Client, ConnectionClosed

from billing_app import routes
from billing_app.demo import OWNER_EMAIL
from tests.pages.conftest import OpenContext, RunningApp, open_page

LISTEN_SECONDS = 3.0
SECRETS = ("Northwind", OWNER_EMAIL, "Growth", "invoice-extraction")


def recorded(
    open_context: OpenContext, session: StorageState, path: str
) -> tuple[str, list[str], list[str]]:
    """The tab's token, what a signed-in browser sent, and what it got."""
    context = open_context(session=session)
    sent: list[str] = []
    received: list[str] = []

    def listen(socket: object) -> None:
        socket.on("framesent", lambda frame: sent.append(str(frame)))  # pyright: ignore[reportAttributeAccessIssue]
        socket.on("framereceived", lambda frame: received.append(str(frame)))  # pyright: ignore[reportAttributeAccessIssue]

    context.on("page", lambda page: page.on("websocket", listen))
    page = open_page(context, path)
    page.wait_for_timeout(2500)
    token = page.evaluate("sessionStorage.getItem('token')")
    context.close()
    return token, [frame for frame in sent if frame.startswith("42")], received


def replay(running_app: RunningApp, token: str, frames: list[str]) -> str:
    """Send the frames from a socket without a cookie; everything that came back."""
    address = running_app.base_url.replace("http", "ws", 1)
    origin = {"Origin": running_app.base_url}
    socket = Client.connect(
        f"{address}/_event/?token={token}&EIO=4&transport=websocket", headers=origin
    )
    assert isinstance(socket, Client)
    answers: list[str] = []
    try:
        socket.send("40/_event,")
        for frame in frames:
            socket.send(frame)
        end = time.monotonic() + LISTEN_SECONDS
        while time.monotonic() < end:
            answer = socket.receive(timeout=0.2)
            if answer == "2":
                socket.send("3")
            elif answer is not None:
                answers.append(str(answer))
    except ConnectionClosed:
        pass
    finally:
        socket.close()
    return "\n".join(answers)


@pytest.mark.parametrize("path", routes.SIGNED_IN_PAGES)
def test_events_without_a_session_get_nothing(
    open_context: OpenContext, running_app: RunningApp, owner_session: StorageState, path: str
) -> None:
    token, frames, received = recorded(open_context, owner_session, path)
    assert frames
    assert any(word in "\n".join(received) for word in SECRETS)
    for forged_token in (secrets.token_hex(16), token):
        answers = replay(running_app, forged_token, frames)
        assert answers
        assert not [word for word in SECRETS if word in answers]


def test_a_foreign_page_cannot_open_the_socket(running_app: RunningApp) -> None:
    address = running_app.base_url.replace("http", "ws", 1)
    with pytest.raises(Exception, match=r"(?i)40[03]|closed|reject"):
        Client.connect(
            f"{address}/_event/?token=x&EIO=4&transport=websocket",
            headers={"Origin": "https://evil.example"},
        )


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
