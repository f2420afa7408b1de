"""Every dialog of the console by keyboard alone: in, round, out, and back where one was."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import pytest
from playwright.sync_api import Locator, Page, expect

from billing_app import routes
from billing_app.billing.staff.repairs.registry import BY_NAME
from billing_app.billing.staff.repairs.repair import Shown
from billing_app.db.enums import StaffRole
from tests.factories import (
    Holder,
    membership,
    organization,
    person,
    portal_session,
    session_token,
    trial,
)
from tests.pages import staff_scenes as scenes
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.staff import open_console
from tests.pages.staff_actions import ACTS
from tests.pages.test_accessibility import grave_violations

MAX_STOPS: Final = 14
# A moment has a stop for each of its parts.
MAX_ROUND: Final = 40
HAS_FOCUS: Final = """
() => document.querySelector('[role=dialog]')?.contains(document.activeElement) ?? false
"""
FOCUSED: Final = """
() => { const e = document.activeElement; return e.id || e.name || e.textContent; }
"""
UNLABELLED: Final = """
() => [...document.querySelectorAll(
    '[role=dialog] :is(input:not([type=hidden]), select, textarea)')]
    .filter(each => !each.labels?.length || !each.labels[0].textContent.trim())
    .map(each => each.name)
"""


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a dialog is, and the button that opens it."""

    path: str
    opener: Callable[[Page], Locator]
    item: str = ""
    tab: str = ""
    prepare: Callable[[Page], None] | None = None


Scene = Callable[[RunningApp], Opening]


def from_menu(item: str, prepare: Callable[[RunningApp], Holder]) -> Scene:
    """By the menu of repairs: it is its button that has the focus afterwards."""

    def scene(app: RunningApp) -> Opening:
        path = routes.staff_customer(prepare(app).account_id)
        return Opening(path, lambda page: page.get_by_role("button", name="Actions"), item)

    return scene


def from_button(name: str, prepare: Callable[[RunningApp], Holder], tab: str = "") -> Scene:
    def scene(app: RunningApp) -> Opening:
        path = routes.staff_customer(prepare(app).account_id)
        return Opening(path, lambda page: page.get_by_role("button", name=name), tab=tab)

    return scene


def on_offer(name: str, code: Callable[[RunningApp], str], *, edits: bool = False) -> Scene:
    def scene(app: RunningApp) -> Opening:
        def opener(page: Page) -> Locator:
            return page.get_by_role("button", name=name, exact=True)

        path = routes.staff_offer(code(app))
        return Opening(path, opener, prepare=_edit if edits else None)

    return scene


def on_page(path: str, name: str, tab: str = "") -> Scene:
    return lambda _: Opening(
        path, lambda page: page.get_by_role("button", name=name).first, tab=tab
    )


def _find_robin(page: Page) -> None:
    page.get_by_label("Search members").fill("Robin")


def _edit(page: Page) -> None:
    page.get_by_label("Description").fill("By keyboard")


def _organization(app: RunningApp) -> Holder:
    return organization(app.database_url, 50)


def _with_a_run(app: RunningApp) -> Holder:
    holder = _organization(app)
    scenes.use(app, holder, 3)
    return holder


def _on_trial(app: RunningApp) -> Holder:
    return trial(app.database_url, person(app.database_url).user_id, 50)


def _subscribed(app: RunningApp) -> Holder:
    holder = organization(app.database_url)
    scenes.subscribe_by_card(app, holder)
    return holder


def _paused(app: RunningApp) -> Holder:
    holder = _organization(app)
    query = "UPDATE plans SET paused_at = now() WHERE account_id = %s"
    scenes.run(app, query, holder.account_number)
    return holder


def _blocked(app: RunningApp) -> Holder:
    holder = _organization(app)
    query = "UPDATE accounts SET blocked_at = now() WHERE id = %s"
    scenes.run(app, query, holder.account_number)
    return holder


def _with_a_browser(app: RunningApp) -> Holder:
    holder, user_id = _organization(app), person(app.database_url).user_id
    membership(app.database_url, holder.organization_id, user_id)
    session_token(app.database_url, user_id)
    return holder


def _with_a_portal_session(app: RunningApp) -> Holder:
    holder = _organization(app)
    portal_session(app.database_url, holder, "ada")
    return holder


def _archived(app: RunningApp) -> str:
    code = scenes.draft(app)
    scenes.by_admin(app, f"/offers/{code}/archive")
    return code


def _replay(app: RunningApp) -> Opening:
    event_id = scenes.dead_letter(app)
    opener = f"Replay: {event_id}"
    return Opening(routes.STAFF_OPERATIONS, lambda page: page.get_by_role("button", name=opener))


def _retry(app: RunningApp) -> Opening:
    scenes.stopped_job(app)
    return on_page(routes.STAFF_OPERATIONS, "Retry: reconcile now", "Jobs")(app)


def _of_somebody(words: str) -> Scene:
    def scene(app: RunningApp) -> Opening:
        scenes.somebody(app, StaffRole.SUPPORT)
        opening = on_page(routes.STAFF_TEAM, f"{words}: Robin")(app)
        return replace(opening, prepare=_find_robin)

    return scene


DIALOGS: Final[dict[str, Scene]] = {
    **{
        name: from_menu(repair.title, _organization)
        for name, repair in BY_NAME.items()
        if repair.shown in {Shown.IN_MENU, Shown.OF_ORGANIZATION, Shown.WHILE_OPEN}
    },
    "refund from the ledger": from_button("Refund: evt_", _with_a_run, "Ledger"),
    "refund_range": from_menu("Refund a workflow", _with_a_run),
    "extend_trial": from_menu("Extend trial", _on_trial),
    "move_offer": from_menu("Move to another offer", _subscribed),
    "trust_invoice": from_menu("Trust an invoice", _subscribed),
    "cancel_subscription": from_menu("Cancel a subscription", _subscribed),
    "pause": from_button("Pause: Plan 1", _organization),
    "resume": from_button("Resume: Plan 1", _paused),
    "unblock": from_menu("Unblock account", _blocked),
    "view": from_button("View as customer", _organization),
    "sign out": from_button("Sign out: Ada", _with_a_browser, "Access"),
    "end portal sessions": from_button("End sessions: ada", _with_a_portal_session, "Access"),
    "save": on_offer("Save draft", scenes.draft, edits=True),
    "publish": on_offer("Publish", scenes.draft),
    "archive": on_offer("Archive", scenes.draft),
    "unarchive": on_offer("Unarchive", _archived),
    "reconcile": on_page(routes.STAFF_OPERATIONS, "Reconcile now", "Reconciliation"),
    "replay": _replay,
    "retry": _retry,
    "add to the team": on_page(routes.STAFF_TEAM, "Add member"),
    "change a role": _of_somebody("Change role"),
    "remove from the team": _of_somebody("Remove"),
}


def test_every_repair_dialog_is_covered() -> None:
    assert {act.kind for act in ACTS.values()} - {""} <= set(DIALOGS)


@pytest.mark.parametrize("name", DIALOGS)
def test_dialog_works_by_keyboard(
    open_context: OpenContext, running_app: RunningApp, name: str
) -> None:
    opening = DIALOGS[name](running_app)
    page = open_console(open_context, running_app, opening.path)
    opener = _find_opener(page, opening)
    opener.focus()
    page.keyboard.press("Enter")
    if opening.item:
        _choose_by_arrows(page, opening.item)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.wait_for_function(HAS_FOCUS)
    assert page.evaluate(UNLABELLED) == []
    assert dialog.get_by_label("Reason").count() == 1
    _expect_a_round(page)
    assert grave_violations(page, within="[role=dialog]") == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def _find_opener(page: Page, opening: Opening) -> Locator:
    if opening.tab:
        page.get_by_role("tab", name=opening.tab).click()
    if opening.prepare is not None:
        opening.prepare(page)
    opener = opening.opener(page)
    expect(opener).to_be_enabled()
    return opener


def _choose_by_arrows(page: Page, item: str) -> None:
    """The menu opens on its first item; down until the one that is wanted."""
    wanted = page.get_by_role("menuitem", name=item)
    expect(wanted).to_be_visible()
    for _ in range(MAX_STOPS):
        if wanted.evaluate("each => each === document.activeElement"):
            break
        page.keyboard.press("ArrowDown")
    expect(wanted).to_be_focused()
    page.keyboard.press("Enter")


def _expect_a_round(page: Page) -> None:
    """Tab goes through the dialog and begins anew, without ever leaving it; so it does back."""
    first = page.evaluate(FOCUSED)
    stops = [first]
    for _ in range(MAX_ROUND):
        page.keyboard.press("Tab")
        assert page.evaluate(HAS_FOCUS), stops
        if page.evaluate(FOCUSED) == first:
            break
        stops.append(page.evaluate(FOCUSED))
    else:
        raise AssertionError(f"no way round: {stops}")
    assert len(stops) >= 3, stops
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(HAS_FOCUS), stops


def test_review_is_confirmed_by_keyboard(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    path = routes.staff_customer(_organization(running_app).account_id)
    page = open_console(open_context, running_app, path)
    page.get_by_role("button", name="Actions").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Executions")).to_be_focused()
    page.keyboard.type("7")
    page.keyboard.press("Tab")
    for _ in range(MAX_STOPS):
        if dialog.get_by_label("Reason").evaluate("each => each === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.type("Typed without a mouse")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Review")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.locator("#consequence")).to_be_visible()
    expect(dialog.get_by_role("button", name="Grant executions")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".notice.result")).to_contain_text("7 executions granted")
    expect(page.get_by_role("button", name="Actions")).to_be_focused()
