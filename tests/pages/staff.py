"""Staff in a browser, and staff who forge what a browser sends."""

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Page, expect
from reflex.state import BaseState

from billing_app import routes
from billing_app.db.words import StaffRole
from tests.factories import connect, person, session_token, staff_member
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.test_forged_events import connect as connect_socket
from tests.pages.test_forged_events import forged

WATCHED = (
    "audit_entries",
    "plans",
    "execution_events",
    "offers",
    "offer_drafts",
    "offer_versions",
    "staff_members",
    "staff_views",
    "checkouts",
    "provider_customers",
    "subscriptions",
    "spending_limits",
)
SETTLE_SECONDS = 0.25


def open_console(
    open_context: OpenContext,
    app: RunningApp,
    path: str,
    role: StaffRole = StaffRole.ADMIN,
    **look: Any,
) -> Page:
    """A page of the console, as somebody new with this role."""
    member = staff_member(app.database_url, role)
    context = open_context(**look)
    token = session_token(app.database_url, member.actor_id)
    context.add_cookies([{"name": routes.SESSION_COOKIE, "value": token, "url": app.base_url}])
    page = context.new_page()
    page.goto(path)
    page.locator(".console h1").wait_for()
    return page


def cookie_of(app: RunningApp, role: StaffRole | None) -> str:
    """The cookie of somebody new: of the staff with a role, or a customer without one."""
    url = app.database_url
    who = staff_member(url, role).actor_id if role else person(url).user_id
    return f"{routes.SESSION_COOKIE}={session_token(url, who)}"


def send(
    app: RunningApp,
    cookie: str,
    path: str,
    events: Sequence[tuple[type[BaseState], str, dict[str, Any]]],
) -> str:
    """Events from a bare socket, one after another; all that was answered."""
    headers = {"Origin": app.base_url} | ({"Cookie": cookie} if cookie else {})
    socket = connect_socket(app, secrets.token_hex(16), headers)
    socket.send("40/_event,")
    answers: list[str] = []
    for state, handler, payload in events:
        time.sleep(SETTLE_SECONDS)
        socket.send(forged(state, handler, path, **payload))
        while (answer := socket.receive(timeout=SETTLE_SECONDS)) is not None:
            answers.append(str(answer))
    while (answer := socket.receive(timeout=1.0)) is not None:
        answers.append(str(answer))
        if len(answers) > 200:
            break
    socket.close()
    return "\n".join(answers)


def fingerprint(app: RunningApp) -> dict[str, str]:
    """Every row that staff can change, by table."""
    found: dict[str, str] = {}
    with connect(app.database_url) as connection:
        known = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for table in (name for (name,) in known if name in WATCHED):
            rows = "string_agg(t::text, ',' ORDER BY t::text)"
            query = f"SELECT md5(coalesce({rows}, '')) FROM \"{table}\" AS t"  # noqa: S608
            row = connection.execute(query).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
            found[table] = json.dumps(row)
    return found


def expect_said(page: Page, words: str) -> None:
    expect(page.locator(".notice.said")).to_contain_text(words)
