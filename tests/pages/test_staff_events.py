"""Who may do what, over forged events: the console's guards are in the services."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from billing_app import routes
from billing_app.billing.identity.sessions import hash_token
from billing_app.billing.staff.access.permissions import (
    RANKS,
    WHILE_VIEWING,
    Action,
    OwnAccountError,
    may_repair_own,
)
from billing_app.billing.staff.repairs.registry import BY_NAME
from billing_app.db.enums import StaffRole
from billing_app.states.billing_dashboard import BillingDashboardState
from billing_app.states.billing_overview import BillingOverviewState
from billing_app.states.session import SessionState
from billing_app.states.staff.customer import StaffCustomerState
from billing_app.states.staff.customers import StaffCustomersState
from billing_app.states.staff.offers import StaffOfferState
from billing_app.states.staff.operations import StaffOperationsState
from billing_app.states.staff.overview import StaffOverviewState
from billing_app.states.staff.page import FAILED
from billing_app.states.staff.repairs import VIEW
from billing_app.states.staff.team import StaffTeamState
from tests.factories import Holder, connect, organization
from tests.pages import staff_scenes as scenes
from tests.pages.conftest import RunningApp
from tests.pages.forgery_scene import ForgeryScene
from tests.pages.staff import cookie_of, fingerprint, quiet_fingerprint, send
from tests.pages.staff_actions import ACTS, READ_ONLY, Act, Events, Forgery, states_of_staff
from tests.pages.staff_scenes import WHY, Somebody, rows, somebody

SIGNED_OUT = "signed out"
AT_ONCE = 8
ROLES: dict[str, StaffRole | None] = {
    SIGNED_OUT: None,
    "customer": None,
    **{role.value: role for role in StaffRole},
}
SIGNED_IN = [who for who in ROLES if who != SIGNED_OUT]
WRITTEN_WITHIN_SECONDS = 15.0
NOTHING_SAID = ""
VIEWING = "You are viewing an account as its customer"
ROLE_MISSING = "This requires the role"
REFUSED = '"is_bad":true'
OF_SESSIONS = {"choose_account", "end_view"}
OF_REFLEX = {"hydrate", "hydrate_and_load", "set_is_hydrated", "setvar"}


@dataclass(frozen=True, slots=True)
class Try:
    """An act by somebody new, ready to be sent."""

    name: str
    forger: Somebody
    forgery: Forgery
    refusal: str | None

    def send(self, app: RunningApp) -> str:
        return send(app, self.forger.cookie, self.forgery.path, self.forgery.events)


@pytest.mark.parametrize(
    ("who", "whose"),
    [(SIGNED_OUT, "other"), *[(who, whose) for who in SIGNED_IN for whose in ("other", "own")]],
)
def test_forged_events_respect_the_role(running_app: RunningApp, who: str, whose: str) -> None:
    role, is_own = ROLES[who], whose == "own"
    acts = {name: act for name, act in ACTS.items() if act.has_own or not is_own}
    tries: list[Try] = []
    for name, act in acts.items():
        forger = Somebody("", "") if who == SIGNED_OUT else somebody(running_app, role)
        forgery = act.prepare(ForgeryScene(running_app, forger, is_own))
        tries.append(Try(name, forger, forgery, _refusal(act, role, is_own=is_own)))
    _expect_refused(running_app, [each for each in tries if each.refusal is not None])
    allowed = [each for each in tries if each.refusal is None]
    changing = [each for each in allowed if acts[each.name].changes]
    _at_once(running_app, changing)
    for each in changing:
        _expect_entry(running_app, each, acts[each.name], is_own=is_own)
    for each in allowed:
        if each not in changing and not _is_refused_by_repair(running_app, each):
            _expect_entry(running_app, each, acts[each.name], is_own=is_own)


def _expect_entry(app: RunningApp, sent: Try, act: Act, *, is_own: bool) -> None:
    count = 2 if act.action is Action.END_VIEW else 1
    written = _written_by(app, sent.forger, count)
    assert written[-1:] == [(act.action, is_own and act.has_account)], sent.name
    assert len(written) == count, sent.name


def _is_refused_by_repair(app: RunningApp, ready: Try) -> bool:
    """Whether the repair itself refuses it, as it may what `changes` nothing in the scene. Then
    nothing has changed, and neither the role nor the account was the reason."""
    before = quiet_fingerprint(app)
    answer = ready.send(app)
    if REFUSED not in answer:
        return False
    assert fingerprint(app) == before, ready.name
    for other in (ROLE_MISSING, OwnAccountError.title, FAILED):
        assert other not in answer, f"{ready.name}: {answer[-600:]}"
    return True


def _expect_refused(app: RunningApp, tries: list[Try]) -> None:
    before = quiet_fingerprint(app)
    answers = _at_once(app, tries)
    assert fingerprint(app) == before
    for each, answer in zip(tries, answers, strict=True):
        assert str(each.refusal) in answer, f"{each.name}: {answer[-600:]}"
        if not each.refusal:
            assert "Acme" not in answer, each.name


def _at_once(app: RunningApp, tries: list[Try]) -> list[str]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda each: each.send(app), tries))


def _refusal(act: Act, role: StaffRole | None, *, is_own: bool) -> str | None:
    """What the forger is told; None when they may."""
    if role is None:
        return NOTHING_SAID
    if RANKS[role] < RANKS[act.least]:
        return ROLE_MISSING
    if act.is_repair and is_own and not may_repair_own(role):
        return OwnAccountError.title
    return None


def _written_by(app: RunningApp, who: Somebody, count: int) -> list[tuple[Any, ...]]:
    """Their entries, once there are so many."""
    deadline = time.monotonic() + WRITTEN_WITHIN_SECONDS
    query = "SELECT action, own_account FROM audit_entries WHERE actor_id = %s ORDER BY id"
    while time.monotonic() < deadline:
        if len(found := rows(app, query, who.user_id)) >= count:
            return found
        time.sleep(0.05)
    return rows(app, query, who.user_id)


def test_every_changing_handler_is_covered(running_app: RunningApp) -> None:
    """A new handler of a staff state belongs into ACTS, or into READ_ONLY if it only reads."""
    stage = ForgeryScene(running_app, somebody(running_app, None), is_own=False)
    deeds = {act.prepare(stage).deed for act in ACTS.values()}
    tried = {(state.__name__, handler) for state, handler in deeds}
    states = states_of_staff()
    assert set(states) == set(READ_ONLY)
    found = {
        (name, handler)
        for name, state in states.items()
        for handler in set(state.event_handlers) - OF_REFLEX
    }
    reading = {(name, handler) for name, handlers in READ_ONLY.items() for handler in handlers}
    reading = {(name, handler) for name, handler in reading if handler not in OF_REFLEX}
    assert not tried & reading
    assert found == (tried | reading) - {("SessionState", "end_view")}
    assert set(SessionState.event_handlers) - OF_REFLEX == OF_SESSIONS
    assert {act.kind for act in ACTS.values()} - {""} == set(BY_NAME)
    assert {act.action for act in ACTS.values()} == set(Action) - {Action.READ}


@pytest.mark.parametrize("name", READ_ONLY)
def test_read_only_handlers_change_nothing(running_app: RunningApp, name: str) -> None:
    admin, state = somebody(running_app, StaffRole.ADMIN), states_of_staff()[name]
    holder = organization(running_app.database_url, 10)
    path = {
        "StaffCustomerState": routes.staff_customer(holder.account_id),
        "StaffOfferState": routes.staff_offer("growth"),
    }.get(name, routes.STAFF)
    events: Events = [(state, handler, told) for handler, told in READ_ONLY[name].items()]
    for variable in ("_customer_id", "_is_own", "role", "allowed", "dialog", "chosen", "target"):
        events.append((state, "setvar", {"var_name": variable, "value": "admin"}))
    before = quiet_fingerprint(running_app)
    send(running_app, admin.cookie, path, events)
    assert fingerprint(running_app) == before


@pytest.mark.parametrize("who", ["signed out", "customer"])
def test_console_events_tell_customers_nothing(running_app: RunningApp, who: str) -> None:
    cookie = "" if who == "signed out" else cookie_of(running_app, None)
    reading: Events = [
        (StaffOverviewState, "load", {}),
        (StaffCustomersState, "load", {}),
        (
            StaffCustomersState,
            "filter_by",
            {"table": "customers", "name": "query", "value": "north"},
        ),
        (StaffCustomersState, "sort_by", {"table": "customers", "sort": "made"}),
        (StaffTeamState, "load", {}),
        (StaffOperationsState, "load", {}),
        (StaffOfferState, "load", {}),
    ]
    answers = send(running_app, cookie, routes.staff_offer("growth"), reading)
    for secret in ("Northwind", "staff@billing.example", "30,000 executions", "For a team"):
        assert secret not in answers


def _viewing(_: Holder) -> Events:
    return [
        (StaffCustomerState, "load", {}),
        (StaffCustomerState, "ask", {"dialog": VIEW, "target": "", "target_name": ""}),
        (StaffCustomerState, "view_as_customer", {"form": {"reason": WHY}}),
    ]


def test_view_as_customer_is_read_only_and_limited_to_its_account(
    running_app: RunningApp,
) -> None:
    url = running_app.database_url
    viewed, other = organization(url, 10), organization(url, 10)
    cookie = cookie_of(running_app, StaffRole.ADMIN)
    path = routes.staff_customer(viewed.account_id)
    send(running_app, cookie, path, _viewing(viewed))
    with connect(url) as connection:
        token = cookie.partition("=")[2]
        row = connection.execute(
            "SELECT account_id FROM staff_views WHERE token_hash = %s", [hash_token(token)]
        ).fetchone()
    assert row == (viewed.account_number,)
    before = fingerprint(running_app)
    events: Events = [
        (SessionState, "choose_account", {"account_id": other.account_id}),
        (BillingDashboardState, "load", {}),
        *[
            (BillingOverviewState, name, {})
            for name in ("load", "show_older", "show_newer")
            if name in BillingOverviewState.event_handlers
        ],
        *_every_handler(),
    ]
    answers = send(running_app, cookie, routes.DASHBOARD, events)
    assert viewed.account_id in answers
    assert other.account_id not in answers
    assert other.organization_id not in answers
    assert fingerprint(running_app) == before


def test_console_events_of_a_viewing_session_are_refused(running_app: RunningApp) -> None:
    tries: list[Try] = []
    for name, act in ACTS.items():
        if act.action in WHILE_VIEWING:
            continue
        forger = somebody(running_app, StaffRole.ADMIN)
        forgery = act.prepare(ForgeryScene(running_app, forger, is_own=False))
        scenes.open_view(running_app, forger, organization(running_app.database_url, 10))
        tries.append(Try(name, forger, forgery, VIEWING))
    _expect_refused(running_app, tries)


def _every_handler() -> Events:
    """Each handler of the customers' pages that can be sent with a word for each argument."""
    from billing_app.states.offer_dialog import OfferDialogState

    found: Events = []
    for name, handler in OfferDialogState.event_handlers.items():
        arguments = list(handler.fn.__code__.co_varnames[1 : handler.fn.__code__.co_argcount])
        if name in {"setvar", "set_is_hydrated"} or name.startswith(("_", "set_")):
            continue
        found.append((OfferDialogState, name, dict.fromkeys(arguments, "growth")))
    return found


def test_customer_cannot_start_or_end_a_view(running_app: RunningApp) -> None:
    url = running_app.database_url
    holder = organization(url, 10)
    customer = cookie_of(running_app, None)
    before = fingerprint(running_app)
    events: Events = [(SessionState, "end_view", {}), *_viewing(holder)]
    send(running_app, customer, routes.staff_customer(holder.account_id), events)
    assert fingerprint(running_app) == before
