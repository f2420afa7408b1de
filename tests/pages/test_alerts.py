"""The bell, the page of alerts, the rules of an account and the defaults of staff."""

import re

from playwright.sync_api import Page, expect

from billing_app import routes
from billing_app.billing import ids
from billing_app.db.enums import Role, StaffRole
from billing_app.states.alert_rules import DEFAULTS, REMOVE, RULE
from billing_app.states.alerts import AlertsState
from billing_app.states.bell import BellState
from billing_app.states.session import SessionState
from tests.factories import Holder, connect, organization
from tests.mailbox import Mailbox
from tests.pages.conftest import PHONE, OpenContext, RunningApp
from tests.pages.customers import Customer, new_customer
from tests.pages.sockets import CONNECT, ForgingSocket
from tests.pages.staff import open_console, signed_in
from tests.pages.staff_scenes import WHY
from tests.pages.test_accessibility import faults, grave_violations, picture
from tests.pages.test_members import join, look_at
from tests.raised_alerts import raise_left

TOLD_WITHIN_MS = 20_000
UNREAD = re.compile(r"Alerts: \d+ unread")


def joined(open_context: OpenContext, app: RunningApp, role: Role) -> tuple[Holder, Customer]:
    """An organization, and somebody new there who looks at it."""
    holder, somebody = organization(app.database_url, 1000), new_customer(open_context, app)
    join(app, somebody, holder, role)
    look_at(somebody.page, "Acme")
    return holder, somebody


def rules_of(app: RunningApp, holder: Holder) -> object:
    with connect(app.database_url) as connection:
        return connection.execute(
            "SELECT xmin, rules FROM alert_rules WHERE account_id = %s", [holder.account_number]
        ).fetchone()


def bell_of(page: Page, name: str | re.Pattern[str]) -> None:
    expect(page.locator(".side-top").get_by_role("button", name=name)).to_be_visible(
        timeout=TOLD_WITHIN_MS
    )


def test_bell_rings_while_the_page_is_open(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder, owner = joined(open_context, running_app, Role.OWNER)
    page = owner.page
    bell_of(page, "Alerts")
    elsewhere = signed_in(open_context, running_app, owner.user_id)
    elsewhere.goto(routes.USAGE)
    raise_left(running_app.database_url, holder.account_number, 120)
    bell_of(page, "Alerts: 1 unread")
    expect(page.locator("[aria-live=polite]").filter(has_text="1 unread alert")).to_be_attached()
    page.locator(".side-top").get_by_role("button", name="Alerts: 1 unread").press("Enter")
    panel = page.get_by_role("dialog")
    expect(panel.get_by_text("120 executions left")).to_be_visible()
    expect(panel.get_by_text("120 of 1,000 executions are left.")).to_be_visible()
    assert grave_violations(page, within="[role=dialog]") == []
    bell_of(elsewhere, "Alerts: 1 unread")
    panel.get_by_role("button", name="Mark all as read").press("Enter")
    page.keyboard.press("Escape")
    bell_of(page, re.compile("^Alerts$"))
    bell_of(elsewhere, re.compile("^Alerts$"))


def test_bell_opens_from_the_top_bar_of_a_phone(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder, owner = joined(open_context, running_app, Role.OWNER)
    raise_left(running_app.database_url, holder.account_number, 12)
    raise_left(running_app.database_url, holder.account_number, 0)
    phone = signed_in(open_context, running_app, owner.user_id, size=PHONE)
    phone.goto(routes.DASHBOARD)
    button = phone.locator(".top-bar").get_by_role("button", name="Alerts: 2 unread")
    expect(button).to_be_visible(timeout=TOLD_WITHIN_MS)
    button.click()
    panel = phone.get_by_role("dialog")
    expect(panel.get_by_text("No executions left")).to_be_visible()
    box = panel.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE[0]
    assert grave_violations(phone, within="[role=dialog]") == []
    picture(phone, "bell-phone")
    panel.get_by_role("link", name="All alerts").click()
    expect(phone.get_by_role("heading", name="Raised")).to_be_visible()


def test_alert_leads_to_its_account(open_context: OpenContext, running_app: RunningApp) -> None:
    holder, owner = joined(open_context, running_app, Role.BILLING_ADMIN)
    page = owner.page
    page.get_by_role("button", name="Account: Acme").first.click()
    page.get_by_role("menuitem", name="Mary Shelley").click()
    page.goto(routes.USAGE)
    raise_left(running_app.database_url, holder.account_number, 55)
    bell_of(page, UNREAD)
    page.locator(".side-top").get_by_role("button", name=UNREAD).click()
    page.get_by_role("dialog").get_by_role("button", name="55 executions left").click()
    page.wait_for_url(f"**{routes.OVERVIEW}")
    expect(page.locator(".page-note")).to_have_text("Acme")
    bell_of(page, re.compile("^Alerts$"))


def test_owner_chooses_what_to_alert_about(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    _, owner = joined(open_context, running_app, Role.OWNER)
    page = owner.page
    page.get_by_role("button", name="Account: Acme").first.click()
    page.get_by_role("menuitem", name="Alerts").click()
    expect(page.get_by_role("heading", name="What to alert about")).to_be_visible()
    assert faults(page, "alerts-empty") == []
    page.get_by_role("button", name="Add alert").click()
    dialog = page.get_by_role("dialog")
    for typed in ("0", "101", "a few", ""):
        dialog.get_by_label("Percent left").evaluate("node => node.required = false")
        dialog.get_by_label("Percent left").fill(typed)
        dialog.get_by_role("button", name="Save").click()
        expect(dialog.get_by_role("alert")).to_contain_text("whole number from 1 to 99")
    assert faults(page, "alerts-rule", within="[role=dialog]") == []
    dialog.get_by_label("Percent left").fill("20")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("When 20% of the executions or fewer are left")).to_be_visible()
    page.get_by_role("button", name="Edit: When 20%").click()
    dialog.get_by_label("Percent left").fill("25 %")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("When 25% of the executions or fewer are left")).to_be_visible()
    expect(page.get_by_text("When 20% of the executions")).to_have_count(0)
    for kind, label, typed, told in (
        ("Spending beyond the plan", "Amount", "1,250.50", "cost $1,250.50 or more"),
        ("Executions running out", "Days", "5", "run out within 5 days"),
        ("Failed payment", "", "", "When a payment fails"),
    ):
        page.get_by_role("button", name="Add alert").click()
        dialog.get_by_label("Alert about").select_option(label=kind)
        if label:
            dialog.get_by_label(label, exact=True).fill(typed)
        dialog.get_by_role("button", name="Save").click()
        expect(page.get_by_text(told)).to_be_visible()
    page.get_by_role("button", name="Switch off: When a payment fails").click()
    dialog.get_by_role("button", name="Switch off").click()
    expect(page.get_by_text("When a payment fails")).to_have_count(0)
    assert faults(page, "alerts-rules") == []
    page.get_by_role("button", name="Use the defaults").click()
    dialog.get_by_role("button", name="Use the defaults").click()
    expect(page.get_by_text("The defaults apply again")).to_be_visible()
    expect(page.get_by_role("button", name="Use the defaults")).to_have_count(0)


def test_page_lists_alerts_and_keeps_mail_choices(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder, owner = joined(open_context, running_app, Role.OWNER)
    for left in range(100, 112):
        raise_left(running_app.database_url, holder.account_number, left)
    page = owner.page
    page.goto(routes.ALERTS_PAGE)
    raised = page.locator("section").filter(has=page.get_by_role("heading", name="Raised"))
    expect(raised.get_by_text("111 executions left")).to_be_visible()
    expect(raised.get_by_role("listitem")).to_have_count(10)
    bell_of(page, "Alerts: 12 unread")
    assert faults(page, "alerts") == []
    page.get_by_role("button", name="Older").click()
    expect(raised.get_by_text("100 executions left")).to_be_visible()
    expect(raised.get_by_role("listitem")).to_have_count(2)
    page.locator(".page-head").get_by_role("button", name="Mark all as read").click()
    bell_of(page, re.compile("^Alerts$"))
    expect(raised.get_by_text("New", exact=True)).to_have_count(0)

    page.get_by_label("Unusual pace").click()
    expect(page.get_by_label("Unusual pace")).not_to_be_checked()
    page.reload()
    expect(page.get_by_label("Failed payment")).to_be_checked()
    expect(page.get_by_label("Unusual pace")).not_to_be_checked()
    page.get_by_label("Alerts and account emails").click()
    expect(page.get_by_label("Failed payment")).to_be_disabled()
    page.reload()
    expect(page.get_by_label("Alerts and account emails")).not_to_be_checked()


def test_forged_events_of_a_member_and_a_stranger_change_nothing(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder, owner = joined(open_context, running_app, Role.OWNER)
    page = owner.page
    page.goto(routes.ALERTS_PAGE)
    page.get_by_role("button", name="Add alert").click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text("When 20% of the executions")).to_be_visible()
    raise_left(running_app.database_url, holder.account_number, 31)
    bell_of(page, UNREAD)
    (alert,) = alert_ids(running_app, holder)
    _, member = joined(open_context, running_app, Role.MEMBER)
    join(running_app, member, holder, Role.MEMBER)
    stranger = new_customer(open_context, running_app)
    before = rules_of(running_app, holder)
    for attacker in (member, stranger):
        forge(running_app, attacker, holder.account_id, alert)
        assert rules_of(running_app, holder) == before
    bell_of(page, UNREAD)


def alert_ids(app: RunningApp, holder: Holder) -> list[str]:
    with connect(app.database_url) as connection:
        rows = connection.execute(
            "SELECT number FROM alerts WHERE account_id = %s", [holder.account_number]
        ).fetchall()
    return [ids.encode(ids.ALERT, holder.account_number, number) for (number,) in rows]


def forge(app: RunningApp, attacker: Customer, account_id: str, alert_id: str) -> None:
    found = attacker.context.cookies()[0]
    cookie = f"{found.get('name')}={found.get('value')}"
    key = "remaining_share:20"
    with ForgingSocket(app, routes.ALERTS_PAGE, cookie=cookie) as socket:
        socket.send(CONNECT)
        socket.send_event(SessionState, "choose_account", account_id=account_id)
        socket.send_event(AlertsState, "load")
        socket.settle(1)
        for dialog, handler, payload in (
            (RULE, "save_rule", {"form": {"value": "33"}}),
            (REMOVE, "remove_rule", {"form": {}}),
            (DEFAULTS, "use_defaults", {"form": {}}),
            ("", "choose_kind", {"kind": "error_loop"}),
            ("", "show_older", {}),
            ("", "show_newer", {}),
            ("", "choose_mail", {"kind": "all", "is_on": False}),
        ):
            socket.send_event(AlertsState, "ask_rule", dialog=dialog, key=key)
            socket.send_event(AlertsState, handler, **payload)
            socket.send_event(AlertsState, "close_rule")
            socket.settle(1)
        socket.send_event(BellState, "open_alert", alert_id=alert_id)
        socket.send_event(BellState, "mark_all_read")
        socket.settle()


def test_admin_sets_the_defaults(open_context: OpenContext, running_app: RunningApp) -> None:
    page = open_console(open_context, running_app, routes.STAFF_ALERT_RULES)
    page.get_by_label("Offer").select_option(label="growth")
    page.get_by_role("button", name="Add alert").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Percent left").fill("15")
    dialog.get_by_label("Reason").fill(WHY)
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("When 15% of the executions or fewer are left")).to_be_visible()
    assert faults(page, "staff-alert-rules") == []
    support = open_console(
        open_context, running_app, routes.STAFF_ALERT_RULES, role=StaffRole.SUPPORT
    )
    support.get_by_label("Offer").select_option(label="growth")
    expect(support.get_by_text("When 15% of the executions")).to_be_visible()
    expect(support.get_by_role("button", name="Add alert")).to_have_count(0)
    expect(support.get_by_role("button", name="Edit: ")).to_have_count(0)
    page.get_by_role("button", name="Use those of every other offer").click()
    dialog.get_by_label("Reason").fill(WHY)
    assert grave_violations(page, within="[role=dialog]") == []
    dialog.get_by_role("button", name="Use the defaults").click()
    expect(page.get_by_text("When 15% of the executions")).to_have_count(0)


def test_unsubscribe_page_of_a_wrong_link_explains(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = open_context().new_page()
    page.goto(f"{running_app.base_url}{routes.UNSUBSCRIBE}/nobody.00")
    expect(page.get_by_text("This link does not unsubscribe anybody")).to_be_visible()
    expect(page.get_by_role("button", name="Unsubscribe")).to_have_count(0)
    assert faults(page, "unsubscribe-wrong") == []


def test_mail_leads_to_a_page_that_unsubscribes(
    open_context: OpenContext, running_app: RunningApp, mailbox: Mailbox
) -> None:
    holder, owner = joined(open_context, running_app, Role.OWNER)
    raise_left(running_app.database_url, holder.account_number, 64)
    mail = mailbox.wait_for(owner.email, "Acme: 64 executions left")
    page = open_context().new_page()
    page.goto(mail["List-Unsubscribe"].strip("<>"))
    expect(
        page.get_by_text(f"Stop all alerts and account emails to {owner.email}?")
    ).to_be_visible()
    assert faults(page, "unsubscribe") == []
    page.get_by_role("button", name="Unsubscribe").click()
    expect(page.get_by_text("You are unsubscribed")).to_be_visible()
    assert faults(page, "unsubscribed") == []
    owner.page.goto(routes.ALERTS_PAGE)
    expect(owner.page.get_by_label("Alerts and account emails")).not_to_be_checked()
    html = mail.get_body(("html",))
    assert html is not None
    letter = open_context().new_page()
    letter.set_content(html.get_content())
    expect(letter.get_by_role("heading", name="64 executions left")).to_be_visible()
    assert grave_violations(letter) == []
    picture(letter, "mail")
