"""Who may do what, over forged events: the console's guards are in the services."""

from collections.abc import Callable
from typing import Any

import pytest
from reflex.state import BaseState

from billing_app import routes
from billing_app.billing import ids
from billing_app.billing.sessions import hash_token
from billing_app.billing.staff.permissions import RANKS
from billing_app.db.words import StaffRole
from billing_app.states.billing_dashboard import BillingDashboardState
from billing_app.states.billing_overview import BillingOverviewState
from billing_app.states.session import SessionState
from billing_app.states.staff.customer import StaffCustomerState
from billing_app.states.staff.customers import StaffCustomersState
from billing_app.states.staff.offers import StaffOfferState
from billing_app.states.staff.operations import StaffOperationsState
from billing_app.states.staff.overview import StaffOverviewState
from billing_app.states.staff.team import StaffTeamState
from tests.factories import Holder, connect, organization
from tests.pages.conftest import RunningApp
from tests.pages.staff import cookie_of, fingerprint, send

Events = list[tuple[type[BaseState], str, dict[str, Any]]]
WHY = "Forged"


def repair(kind: str, **form: str) -> Callable[[Holder], Events]:
    """The events of a repair of the account whose page is open."""

    def events(holder: Holder) -> Events:
        told = {name: value.format(plan=_plan_id(holder)) for name, value in form.items()}
        return [
            (StaffCustomerState, "load", {}),
            (StaffCustomerState, "ask", {"dialog": kind, "target": "", "target_name": ""}),
            (StaffCustomerState, "review", {"form": told | {"reason": WHY}}),
            (StaffCustomerState, "carry_out", {}),
        ]

    return events


def on_offer(handler: str, dialog: str, *before: tuple[str, str]) -> Callable[[Holder], Events]:
    def events(_: Holder) -> Events:
        typed = [
            (StaffOfferState, "set_field", {"name": name, "value": value}) for name, value in before
        ]
        return [
            (StaffOfferState, "load", {}),
            *typed,
            (StaffOfferState, "ask", {"dialog": dialog}),
            (StaffOfferState, handler, {"told": {"reason": WHY}}),
        ]

    return events


def on_team(_: Holder) -> Events:
    form = {"email": "forged@example.com", "role": "admin", "reason": WHY}
    return [(StaffTeamState, "load", {}), (StaffTeamState, "add", {"form": form})]


def comparing(_: Holder) -> Events:
    form = {"mode": "tell", "reason": WHY}
    return [(StaffOperationsState, "load", {}), (StaffOperationsState, "reconcile", {"form": form})]


def viewing(_: Holder) -> Events:
    return [
        (StaffCustomerState, "load", {}),
        (StaffCustomerState, "view_as_customer", {"form": {"reason": WHY}}),
    ]


ACCOUNT, OFFER = "account", routes.staff_offer("starter")
ACTS: dict[str, tuple[StaffRole, str, Callable[[Holder], Events]]] = {
    "grant": (StaffRole.SUPPORT, ACCOUNT, repair("grant", executions="5")),
    "view": (StaffRole.SUPPORT, ACCOUNT, viewing),
    "adjust": (
        StaffRole.BILLING,
        ACCOUNT,
        repair("adjust", plan="{plan}", direction="more", executions="3"),
    ),
    "pause": (StaffRole.BILLING, ACCOUNT, repair("pause", plan="{plan}")),
    "block": (StaffRole.BILLING, ACCOUNT, repair("block")),
    "reconcile": (StaffRole.BILLING, routes.STAFF_OPERATIONS, comparing),
    "edit": (StaffRole.ADMIN, OFFER, on_offer("save", "save", ("description", "Forged {}"))),
    "archive": (StaffRole.ADMIN, OFFER, on_offer("archive", "archive")),
    "unarchive": (StaffRole.ADMIN, OFFER, on_offer("archive", "unarchive")),
    "team": (StaffRole.ADMIN, routes.STAFF_TEAM, on_team),
}
ROLES: dict[str, StaffRole | None] = {
    "signed out": None,
    "customer": None,
    **{role.value: role for role in StaffRole},
}


def _plan_id(holder: Holder) -> str:

    return ids.encode(ids.PLAN, holder.account_number, 1)


@pytest.mark.parametrize("who", ROLES)
def test_a_forged_event_does_what_the_role_may_and_no_more(
    running_app: RunningApp, who: str
) -> None:
    role = ROLES[who]
    cookie = "" if who == "signed out" else cookie_of(running_app, role)
    for act, (least, place, events) in ACTS.items():
        holder = organization(running_app.database_url, 50)
        path = routes.staff_customer(holder.account_id) if place == ACCOUNT else place
        before = fingerprint(running_app)
        answers = send(running_app, cookie, path, events(holder))
        may = role is not None and RANKS[role] >= RANKS[least]
        assert (fingerprint(running_app) != before) is may, f"{who}: {act}"
        if role is None:
            assert "Acme" not in answers, f"{who}: {act}"


@pytest.mark.parametrize("who", ["signed out", "customer"])
def test_others_than_staff_are_told_nothing(running_app: RunningApp, who: str) -> None:
    cookie = "" if who == "signed out" else cookie_of(running_app, None)
    reading: Events = [
        (StaffOverviewState, "load", {}),
        (StaffCustomersState, "load", {}),
        (
            StaffCustomersState,
            "filter_by",
            {"table": "customers", "name": "words", "value": "north"},
        ),
        (StaffCustomersState, "sort_by", {"table": "customers", "sort": "made"}),
        (StaffTeamState, "load", {}),
        (StaffOperationsState, "load", {}),
        (StaffOfferState, "load", {}),
    ]
    answers = send(running_app, cookie, routes.staff_offer("growth"), reading)
    for secret in ("Northwind", "staff@billing.example", "30,000 executions", "For a team"):
        assert secret not in answers


def test_while_viewing_no_event_changes_anything_or_reaches_another_account(
    running_app: RunningApp,
) -> None:
    url = running_app.database_url
    viewed, other = organization(url, 10), organization(url, 10)
    cookie = cookie_of(running_app, StaffRole.ADMIN)
    path = routes.staff_customer(viewed.account_id)
    send(running_app, cookie, path, viewing(viewed))
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


def _every_handler() -> Events:
    """Each handler of the customers' pages that can be sent with a word for each argument."""
    from billing_app.states.deal import DealState

    found: Events = []
    for name, handler in DealState.event_handlers.items():
        arguments = list(handler.fn.__code__.co_varnames[1 : handler.fn.__code__.co_argcount])
        if name in {"setvar", "set_is_hydrated"} or name.startswith(("_", "set_")):
            continue
        found.append((DealState, name, dict.fromkeys(arguments, "growth")))
    return found


def test_a_customer_cannot_end_or_begin_a_view(running_app: RunningApp) -> None:
    url = running_app.database_url
    holder = organization(url, 10)
    customer = cookie_of(running_app, None)
    before = fingerprint(running_app)
    events: Events = [(SessionState, "end_view", {}), *viewing(holder)]
    send(running_app, customer, routes.staff_customer(holder.account_id), events)
    assert fingerprint(running_app) == before
