"""API keys on the pages, and the first minutes of somebody new."""

import re
import secrets
import subprocess
import sys

import pytest
from playwright.sync_api import Page, expect

from billing_app import routes
from billing_app.db.enums import Role
from billing_app.states.key_form import ADD, KeyFormState
from billing_app.states.keys import KeysState
from billing_app.states.session import SessionState
from tests.factories import connect, membership, organization, person, session_token
from tests.pages.conftest import OpenContext, RunningApp, open_page
from tests.pages.customers import new_customer
from tests.pages.sockets import CONNECT, ForgingSocket
from tests.pages.test_accessibility import faults, grave_violations

KEY = re.compile(r"bil_[0-9A-Za-z]{49}")


def run_in_a_terminal(code: str) -> str:
    """What the dashboard tells people to paste."""
    done = subprocess.run(
        ["bash", "-c", code.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def as_member(open_context: OpenContext, app: RunningApp, role: Role, path: str) -> Page:
    """Of an organization that never counted an execution."""
    holder, somebody = organization(app.database_url, 20), person(app.database_url)
    membership(app.database_url, holder.organization_id, somebody.user_id, role)
    owner = person(app.database_url, "Grace")
    membership(app.database_url, holder.organization_id, owner.user_id, Role.OWNER)
    context = open_context()
    token = session_token(app.database_url, somebody.user_id)
    context.add_cookies([{"name": routes.SESSION_COOKIE, "value": token, "url": app.base_url}])
    return open_page(context, path)


def test_first_execution_within_three_minutes_of_signing_up(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = open_context().new_page()
    page.goto(routes.SIGN_UP)
    page.get_by_label("Name").fill("Ada Lovelace")
    page.get_by_label("Email").fill(f"{secrets.token_hex(6)}@example.com")
    page.get_by_label("Password").fill("a loom that weaves leaves")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_text("Count your first execution")).to_be_visible()
    assert faults(page, "first-steps") == []
    page.get_by_role("button", name="Create a key").click()
    key = page.locator("#first-key")
    expect(key).to_have_text(KEY)
    secret = key.inner_text()
    expect(page.locator("#first-curl")).to_contain_text(secret)
    page.get_by_text("In Python", exact=True).first.click()
    expect(page.locator("#first-python")).to_contain_text(secret)
    assert faults(page, "first-steps-key") == []
    curl = page.locator("#first-curl").inner_text()
    expect(page.get_by_text("Waiting for your first run…")).to_be_visible()
    assert '"executions_remaining":' in run_in_a_terminal(curl)
    expect(page.get_by_text("Your first execution was counted")).to_be_visible()
    expect(page.get_by_role("table", name="Recent executions")).to_contain_text("hello")
    expect(page.get_by_text("Waiting for your first run…")).to_be_hidden()
    page.reload()
    expect(page.get_by_role("table", name="Recent executions")).to_be_visible()
    expect(page.get_by_text("Your first execution was counted")).to_be_hidden()
    assert secret not in page.content()


def test_python_lines_count_one_execution(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = as_member(open_context, running_app, Role.BILLING_ADMIN, routes.DASHBOARD)
    page.get_by_role("button", name="Create a key").click()
    expect(page.locator("#first-key")).to_have_text(KEY)
    page.get_by_text("In Python", exact=True).first.click()
    code = page.locator("#first-python").inner_text()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "19 left\n"), done.stderr
    expect(page.get_by_text("Your first execution was counted")).to_be_visible()


def test_members_are_told_whom_to_ask(open_context: OpenContext, running_app: RunningApp) -> None:
    page = as_member(open_context, running_app, Role.MEMBER, routes.DASHBOARD)
    expect(page.get_by_text("Ask Grace for an API key of this account.")).to_be_visible()
    expect(page.get_by_role("button", name="Create a key")).to_have_count(0)
    page.goto(routes.KEYS)
    expect(page.get_by_text("You can't see the API keys of this account")).to_be_visible()
    assert faults(page, "keys-member") == []


def test_key_is_created_rotated_and_revoked(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = as_member(open_context, running_app, Role.OWNER, routes.KEYS)
    expect(page.get_by_text("No API keys yet")).to_be_visible()
    assert faults(page, "keys-empty") == []
    page.get_by_role("button", name="Create a key").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Nightly jobs")
    dialog.get_by_label("Only for the workflow").fill("reports")
    dialog.get_by_label("Expires after days").fill("ninety")
    dialog.get_by_role("button", name="Create key").click()
    expect(dialog.get_by_text("Enter 1 to 3,650 days.")).to_be_visible()
    assert grave_violations(page, within="[role=dialog]") == []
    dialog.get_by_label("Expires after days").fill("90")
    dialog.get_by_role("button", name="Create key").click()
    expect(dialog.locator("#key")).to_have_text(KEY)
    assert faults(page, "keys-secret", within="[role=dialog]") == []
    secret = dialog.locator("#key").inner_text()
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_be_hidden()
    listed = page.get_by_role("listitem").filter(has_text="Nightly jobs")
    expect(listed).to_have_count(1)
    expect(listed).to_contain_text("Count executions, Read plans and usage · only reports")
    expect(listed).to_contain_text("Never used")
    assert faults(page, "keys") == []

    page.get_by_role("button", name="Rotate Nightly jobs").click()
    dialog.get_by_role("button", name="Rotate key").click()
    expect(dialog.locator("#key")).to_have_text(KEY)
    assert dialog.locator("#key").inner_text() != secret
    dialog.get_by_role("button", name="Done").click()
    expect(listed).to_have_count(2)
    page.get_by_role("button", name="Revoke Nightly jobs").first.click()
    dialog.get_by_role("button", name="Revoke key").click()
    expect(page.get_by_text("Key revoked", exact=True)).to_be_visible()
    expect(listed.first).to_contain_text("Revoked")
    page.reload()
    expect(listed).to_have_count(2)
    assert secret not in page.content()


@pytest.mark.parametrize("role", [Role.MEMBER, None])
def test_forged_events_create_and_end_no_keys(
    open_context: OpenContext, running_app: RunningApp, role: Role | None
) -> None:
    """A socket sends what the page would not."""
    url = running_app.database_url
    holder, somebody = organization(url, 5), new_customer(open_context, running_app)
    if role is not None:
        membership(url, holder.organization_id, somebody.user_id, role)
    cookie = f"{routes.SESSION_COOKIE}={session_token(url, somebody.user_id)}"
    with ForgingSocket(running_app, routes.KEYS, cookie=cookie) as socket:
        socket.send(CONNECT)
        socket.send_event(SessionState, "choose_account", account_id=holder.account_id)
        socket.send_event(KeysState, "load")
        socket.settle()
        for handler, payload in (
            ("ask", {"kind": ADD, "key_id": 0}),
            ("create", {"form": {"name": "mine"}}),
            ("rotate", {}),
            ("revoke", {}),
        ):
            socket.send_event(KeyFormState, handler, **payload)
            socket.settle(1)
        assert holder.organization_id not in socket.text or role is not None
    with connect(url) as connection:
        made = connection.execute(
            "SELECT count(*) FROM api_keys WHERE organization_id = %s", [holder.organization_id]
        ).fetchone()
    assert made == (0,)
