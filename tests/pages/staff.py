"""Staff in a browser, and staff who forge what a browser sends."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page, expect
from reflex.state import BaseState

from billing_app import routes
from billing_app.db.enums import StaffRole
from tests.factories import Holder, connect, membership, person, session_token, staff_member
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.sockets import CONNECT, ForgingSocket
from tests.pages.staff_scenes import WHY, rows

WATCHED = (
    "accounts",
    "alert_rules",
    "api_keys",
    "audit_entries",
    "default_alert_rules",
    "memberships",
    "offer_prices",
    "plans",
    "provider_writes",
    "reconciliations",
    "reservations",
    "sessions",
    "users",
    "webhook_events",
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
QUIET_WITHIN_SECONDS = 20.0
BUSY = """
SELECT EXISTS (SELECT FROM webhook_events WHERE state <> 'dead'
    AND (state <> 'processed' OR received_at > now() - interval '1 second'))
    OR EXISTS (SELECT FROM dbos.workflow_status WHERE queue_name IN ('staff', 'webhooks')
        AND status IN ('ENQUEUED', 'PENDING'))
"""


def open_console(
    open_context: OpenContext,
    app: RunningApp,
    path: str,
    role: StaffRole = StaffRole.ADMIN,
    **look: Any,
) -> Page:
    """A page of the console, as somebody new with this role."""
    member = staff_member(app.database_url, role)
    page = signed_in(open_context, app, member.actor_id, **look)
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
    with ForgingSocket(app, path, cookie=cookie) as socket:
        socket.send(CONNECT)
        for state, handler, payload in events:
            socket.send_event(state, handler, **payload)
            socket.settle(1)
        socket.settle()
        return socket.text


def quiet_fingerprint(app: RunningApp) -> dict[str, str]:
    wait_until_quiet(app)
    return fingerprint(app)


def wait_until_quiet(app: RunningApp) -> None:
    """Until the worker has done what earlier deeds gave it to do."""
    deadline = time.monotonic() + QUIET_WITHIN_SECONDS
    while _is_busy(app) and time.monotonic() < deadline:
        time.sleep(0.1)


def _is_busy(app: RunningApp) -> bool:
    ((busy,),) = rows(app, BUSY)
    return busy


def fingerprint(app: RunningApp) -> dict[str, str]:
    """Which transactions wrote the rows that staff can change, by table."""
    found: dict[str, str] = {}
    with connect(app.database_url) as connection:
        known = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for table in (name for (name,) in known if name in WATCHED):
            query = f'SELECT count(*), sum(xmin::text::bigint) FROM "{table}"'  # noqa: S608
            row = connection.execute(query).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
            found[table] = str(row)
    return found


def undo_at_once(page: Page) -> None:
    """What the page has just done."""
    page.locator(".notice.result").get_by_role("button", name="Undo").click()
    confirm_undo(page)


def confirm_undo(page: Page, *figures: str, reason: str = WHY) -> None:
    dialog = page.get_by_role("dialog")
    for line in figures:
        expect(dialog.locator("#consequence")).to_contain_text(line)
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name="Undo").dblclick()
    expect(dialog).to_have_count(0)


def expect_said(page: Page, words: str) -> None:
    expect(page.locator(".notice.result")).to_contain_text(words)


@dataclass(frozen=True, slots=True)
class CustomerDesk:
    """Somebody of the staff on the page of an account, as they click through it."""

    page: Page
    app: RunningApp
    holder: Holder

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    def choose(self, repair: str) -> None:
        """From the menu of repairs."""
        self.page.get_by_role("button", name="Actions").click()
        self.page.get_by_role("menuitem", name=repair).click()
        expect(self.dialog.get_by_role("heading", name=repair)).to_be_visible()

    def show(self, part: str) -> None:
        self.page.get_by_role("tab", name=part).click()

    def fill(self, **fields: str) -> None:
        """By label, `_` for a space; then why."""
        for label, value in fields.items():
            self.dialog.get_by_label(label.replace("_", " "), exact=True).fill(value)
        self.dialog.get_by_label("Reason").fill(WHY)

    def select(self, label: str, choice: str) -> None:
        self.dialog.get_by_label(label, exact=True).select_option(label=choice)

    def review(self, *consequences: str) -> None:
        self.dialog.get_by_role("button", name="Review").click()
        for words in consequences:
            expect(self.dialog.locator("#consequence")).to_contain_text(words)

    def confirm(self, yes: str, said: str) -> None:
        self.dialog.get_by_role("button", name=yes, exact=True).click()
        expect_said(self.page, said)
        expect(self.dialog).to_be_hidden()

    def expect_left(self, executions: int) -> None:
        expect(self.page.locator(".figure-value").first).to_have_text(f"{executions:,}")

    def expect_entries(self, *words: str) -> None:
        """The newest entries of the account's audit log, newest first, each with a reason."""
        self.show("Audit")
        entries = self.page.get_by_role("table", name="Audit").get_by_role("row")
        for place, each in enumerate(words, 1):
            expect(entries.nth(place)).to_contain_text(each)

    def expect_told(self, open_context: OpenContext, words: str) -> None:
        """The holder reads it in their history, with the reason and without a name."""
        owner = person(self.app.database_url).user_id
        membership(self.app.database_url, self.holder.organization_id, owner, "owner")
        page = signed_in(open_context, self.app, owner)
        page.goto(routes.OVERVIEW)
        step = page.locator(".step").first
        expect(step).to_contain_text(words)
        expect(step).to_contain_text(WHY)
        expect(step).not_to_contain_text("Our ")


def open_desk(
    open_context: OpenContext,
    app: RunningApp,
    holder: Holder,
    role: StaffRole = StaffRole.BILLING,
    **look: Any,
) -> CustomerDesk:
    page = open_console(open_context, app, routes.staff_customer(holder.account_id), role, **look)
    expect(page.locator(".figure-value").first).to_be_visible()
    return CustomerDesk(page, app, holder)


def signed_in(open_context: OpenContext, app: RunningApp, user_id: str, **look: Any) -> Page:
    """A page of somebody's browser, opened nowhere yet."""
    context = open_context(**look)
    token = session_token(app.database_url, user_id)
    context.add_cookies([{"name": routes.SESSION_COOKIE, "value": token, "url": app.base_url}])
    return context.new_page()
