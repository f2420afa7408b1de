"""Everything that the console changes, as events that anybody may forge; and what only reads."""

import importlib
import inspect
import pkgutil
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from reflex.state import BaseState

from billing_app import routes
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.repairs.registry import BY_NAME
from billing_app.billing.staff.repairs.repair import ACCOUNT
from billing_app.db.enums import StaffRole, When
from billing_app.states import alert_rules as of_rules
from billing_app.states import staff as package
from billing_app.states import webhooks as of_webhooks
from billing_app.states.session import SessionState
from billing_app.states.staff import offers as of_offers
from billing_app.states.staff import operations as of_operations
from billing_app.states.staff import team as of_team
from billing_app.states.staff.alert_rules import StaffAlertRulesState
from billing_app.states.staff.audit import StaffAuditState
from billing_app.states.staff.customer import StaffCustomerState
from billing_app.states.staff.customers import StaffCustomersState
from billing_app.states.staff.listing import Listing
from billing_app.states.staff.offers import StaffOffersState, StaffOfferState
from billing_app.states.staff.operations import StaffOperationsState
from billing_app.states.staff.overview import StaffOverviewState
from billing_app.states.staff.page import StaffPage
from billing_app.states.staff.repairs import END_PORTAL, SIGN_OUT, VIEW
from billing_app.states.staff.team import StaffTeamState
from billing_app.states.staff.webhooks import StaffWebhooksState
from tests.factories import Holder, membership, person, portal_session, session_token
from tests.pages import staff_scenes as scenes
from tests.pages.forgery_scene import ForgeryScene, typed
from tests.pages.staff_scenes import WHY
from tests.staff.permission_cases import LEAST
from tests.staff.repair_cases import REPAIR_CASES

State = type[BaseState]
Events = list[tuple[State, str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Forgery:
    """Events sent from a page; the last one is the deed."""

    path: str
    events: Events

    @property
    def deed(self) -> tuple[State, str]:
        state, handler, _ = self.events[-1]
        return state, handler


@dataclass(frozen=True, slots=True)
class Act:
    """`action` is the audit log's word for it, `kind` the console's for a repair. `has_own`: one
    may do it to oneself; `has_account`: or to one's own account. `changes`: it changes something;
    else the repair may refuse it."""

    action: Action
    prepare: Callable[[ForgeryScene], Forgery]
    least: StaffRole
    is_repair: bool = False
    has_own: bool = True
    has_account: bool = True
    kind: str = ""
    changes: bool = True


def _at(holder: Holder, *events: tuple[State, str, dict[str, Any]]) -> Forgery:
    opened: Events = [(StaffCustomerState, "load", {})]
    return Forgery(routes.staff_customer(holder.account_id), [*opened, *events])


def _repaired(holder: Holder, kind: str, **form: str) -> Forgery:
    return _at(
        holder,
        (StaffCustomerState, "ask", {"dialog": kind, "target": "", "target_name": ""}),
        (StaffCustomerState, "review", {"form": form | {"reason": WHY}}),
        (StaffCustomerState, "carry_out", {}),
    )


def _move(when: When) -> Callable[[ForgeryScene], Forgery]:
    def prepare(stage: ForgeryScene) -> Forgery:
        holder = stage.holder()
        scenes.subscribe_by_card(stage.app, holder)
        return _repaired(holder, "move_offer", offer="growth", when=when.value)

    return prepare


def _undo_of_account(stage: ForgeryScene) -> Forgery:
    holder = stage.holder()
    path = f"/accounts/{holder.account_id}/grants"
    entry = scenes.by_admin(stage.app, path, executions=5)
    return _at(
        holder,
        (StaffCustomerState, "ask_undo", {"entry_id": entry["id"]}),
        (StaffCustomerState, "undo", {"form": {"reason": WHY}}),
    )


def _undo_of_audit(stage: ForgeryScene) -> Forgery:
    plan_id = scenes.plan_id(stage.holder())
    entry = scenes.by_admin(stage.app, f"/plans/{plan_id}/adjustments", executions=5)
    return Forgery(
        routes.STAFF_AUDIT,
        [
            (StaffAuditState, "load", {}),
            (StaffAuditState, "ask_undo", {"entry_id": entry["id"]}),
            (StaffAuditState, "undo", {"form": {"reason": WHY}}),
        ],
    )


def _sign_out(stage: ForgeryScene) -> Forgery:
    """Of the forger everywhere, or of somebody whose browser is signed in."""
    holder, url, user_id = stage.holder(), stage.app.database_url, stage.who.user_id
    if not stage.is_own:
        user_id = person(url).user_id
        membership(url, holder.organization_id, user_id)
        session_token(url, user_id)
    target = {"dialog": SIGN_OUT, "target": user_id, "target_name": "Robin"}
    return _at(
        holder,
        (StaffCustomerState, "ask", target),
        (StaffCustomerState, "sign_out", {"form": {"reason": WHY}}),
    )


def _end_portal(stage: ForgeryScene) -> Forgery:
    holder = stage.holder()
    portal_session(stage.app.database_url, holder, "ada")
    target = {"dialog": END_PORTAL, "target": "ada", "target_name": "Ada"}
    return _at(
        holder,
        (StaffCustomerState, "ask", target),
        (StaffCustomerState, "sign_out", {"form": {"reason": WHY}}),
    )


def _view(stage: ForgeryScene) -> Forgery:
    return _at(
        stage.holder(),
        (StaffCustomerState, "ask", {"dialog": VIEW, "target": "", "target_name": ""}),
        (StaffCustomerState, "view_as_customer", {"form": {"reason": WHY}}),
    )


def _end_view(stage: ForgeryScene) -> Forgery:
    holder = stage.holder()
    if stage.who.token:
        scenes.open_view(stage.app, stage.who, holder)
    return Forgery(routes.DASHBOARD, [(SessionState, "end_view", {})])


def _on_offer(code: str, dialog: str, handler: str, *typed: tuple[str, str]) -> Forgery:
    fields: Events = [
        (StaffOfferState, "set_field", {"name": name, "value": value}) for name, value in typed
    ]
    events: Events = [
        (StaffOfferState, "load", {}),
        *fields,
        (StaffOfferState, "ask", {"dialog": dialog}),
        (StaffOfferState, handler, {"submitted": {"reason": WHY}}),
    ]
    return Forgery(routes.staff_offer(code), events)


def _create(_: ForgeryScene) -> Forgery:
    made = _on_offer(of_offers.NEW, of_offers.SAVE, "save", ("name", "Forged"))
    code = {"code": f"forged-{secrets.token_hex(4)}"}
    return Forgery(
        made.path, [made.events[0], (StaffOfferState, "set_code", code), *made.events[1:]]
    )


def _edit(stage: ForgeryScene) -> Forgery:
    code, words = scenes.draft(stage.app), ("description", "Forged")
    return _on_offer(code, of_offers.SAVE, "save", words)


def _publish(stage: ForgeryScene) -> Forgery:
    return _on_offer(scenes.draft(stage.app), of_offers.PUBLISH, "publish")


def _archive(stage: ForgeryScene) -> Forgery:
    return _on_offer(scenes.draft(stage.app), of_offers.ARCHIVE, "archive")


def _unarchive(stage: ForgeryScene) -> Forgery:
    code = scenes.draft(stage.app)
    scenes.by_admin(stage.app, f"/offers/{code}/archive")
    return _on_offer(code, of_offers.UNARCHIVE, "archive")


def _operate(dialog: str, part: str, target: str, **form: str) -> Forgery:
    events: Events = [
        (StaffOperationsState, "load", {}),
        (StaffOperationsState, "choose_part", {"part": part}),
        (StaffOperationsState, "ask", {"dialog": dialog, "target": target}),
        (StaffOperationsState, dialog, {"form": form | {"reason": WHY}}),
    ]
    return Forgery(routes.STAFF_OPERATIONS, events)


def _reconcile(_: ForgeryScene) -> Forgery:
    return _operate(of_operations.RECONCILE, of_operations.COMPARING, "", mode="tell")


def _replay(stage: ForgeryScene) -> Forgery:
    event_id = scenes.dead_letter(stage.app)
    return _operate(of_operations.REPLAY, of_operations.WEBHOOKS, event_id)


def _retry(stage: ForgeryScene) -> Forgery:
    return _operate(of_operations.RETRY, of_operations.JOBS, scenes.stopped_job(stage.app))


def _on_team(dialog: str, user_id: str, **form: str) -> Forgery:
    found = {"table": of_team.MEMBERS, "name": of_team.LETTERS, "value": user_id}
    events: Events = [
        (StaffTeamState, "load", {}),
        (StaffTeamState, "filter_by", found),
        (StaffTeamState, "ask", {"dialog": dialog, "user_id": user_id}),
        (StaffTeamState, dialog, {"form": form | {"reason": WHY}}),
    ]
    return Forgery(routes.STAFF_TEAM, events)


def _add(stage: ForgeryScene) -> Forgery:
    """A stranger, or the forger themselves by their own address."""
    name = stage.who.user_id if stage.is_own else secrets.token_hex(6)
    return _on_team(of_team.ADD, "", email=f"{name}@example.com", role="admin")


def _change(stage: ForgeryScene) -> Forgery:
    """Somebody of support, or the forger themselves, becomes an admin or another role."""
    user_id = _team_mate(stage)
    return _on_team(of_team.CHANGE, user_id, role="admin")


def _remove(stage: ForgeryScene) -> Forgery:
    return _on_team(of_team.REMOVE, _team_mate(stage))


def _team_mate(stage: ForgeryScene) -> str:
    if stage.is_own:
        return stage.who.user_id
    return scenes.somebody(stage.app, StaffRole.SUPPORT).user_id


def _on_webhooks(
    dialog: str, handler: str, endpoint_id: str = "", **payload: Any
) -> Callable[[ForgeryScene], Forgery]:
    """Of the platform's endpoints; one that is named is there, and paused."""

    def prepare(stage: ForgeryScene) -> Forgery:
        if endpoint_id:
            scenes.run(stage.app, ADD_ENDPOINT, endpoint_id)
        asked = {"dialog": dialog, "endpoint_id": endpoint_id}
        events: Events = [
            (StaffWebhooksState, "load", {}),
            (StaffWebhooksState, "ask", asked),
            (StaffWebhooksState, handler, payload),
        ]
        return Forgery(routes.STAFF_WEBHOOKS, events)

    return prepare


def _on_rules(dialog: str, handler: str) -> Callable[[ForgeryScene], Forgery]:
    """Of an offer, and nothing that happens in other tests."""

    def prepare(_: ForgeryScene) -> Forgery:
        events: Events = [
            (StaffAlertRulesState, "load", {}),
            (StaffAlertRulesState, "choose_offer", {"code": "growth"}),
            (StaffAlertRulesState, "ask_rule", {"dialog": dialog, "key": ""}),
            (StaffAlertRulesState, "choose_kind", {"kind": "error_loop"}),
            (StaffAlertRulesState, handler, {"form": {"value": "100000", "reason": WHY}}),
        ]
        return Forgery(routes.STAFF_ALERT_RULES, events)

    return prepare


def _by_row(name: str) -> Callable[[ForgeryScene], Forgery]:
    """As its row in repair_cases.py says."""
    repair, case = BY_NAME[name], REPAIR_CASES[name]

    def prepare(stage: ForgeryScene) -> Forgery:
        target_id = case.target_id(stage, repair)
        form = typed(repair, case.values(stage))
        if repair.target is not ACCOUNT:
            form[repair.target.noun] = target_id
        holder = Holder("", repair.target.numbers(target_id)[0])
        return _repaired(holder, name, **form)

    return prepare


def _of_repair(name: str, prepare: Callable[[ForgeryScene], Forgery] | None = None) -> Act:
    repair, case = BY_NAME[name], REPAIR_CASES[name]
    changes = case.changes or prepare is not None
    prepare = prepare or _by_row(name)
    return Act(repair.action, prepare, case.least, is_repair=True, kind=name, changes=changes)


def _plain(action: Action, prepare: Callable[[ForgeryScene], Forgery]) -> Act:
    return Act(action, prepare, LEAST[action])


def _of_house(action: Action, prepare: Callable[[ForgeryScene], Forgery]) -> Act:
    return Act(action, prepare, LEAST[action], has_own=False, has_account=False)


def _of_team(action: Action, prepare: Callable[[ForgeryScene], Forgery]) -> Act:
    return Act(action, prepare, LEAST[action], has_account=False)


FORGED_ENDPOINT: Final = "whe_forged"
ADD_ENDPOINT: Final = """
INSERT INTO webhook_endpoints (id, url, description, status, secret, created_at, updated_at)
VALUES (%s, 'https://hooks.invalid/', '', 'paused', 'whsec_Zm9yZ2Vk', now(), now())
ON CONFLICT DO NOTHING
"""
ENDPOINT_FORM: Final = {"url": "https://hooks.invalid/forged", "description": ""}
# Repairs that need more than the scene has.
PREPARED: Final = {"move_offer": _move(When.PERIOD_END)}
ACTS: Final[dict[str, Act]] = {
    **{name: _of_repair(name, PREPARED.get(name)) for name in BY_NAME},
    "move now": _of_repair("move_offer", _move(When.NOW)),
    "undo a grant": Act(Action.UNDO, _undo_of_account, LEAST[Action.UNDO], is_repair=True),
    "undo an adjustment": Act(Action.UNDO, _undo_of_audit, LEAST[Action.ADJUST], is_repair=True),
    "sign out": _plain(Action.SIGN_OUT, _sign_out),
    "end portal sessions": _plain(Action.END_PORTAL_SESSIONS, _end_portal),
    "view": _plain(Action.VIEW_AS_CUSTOMER, _view),
    "end a view": _plain(Action.END_VIEW, _end_view),
    "create an offer": _of_house(Action.EDIT_OFFER, _create),
    "edit an offer": _of_house(Action.EDIT_OFFER, _edit),
    "publish": _of_house(Action.PUBLISH_OFFER, _publish),
    "archive": _of_house(Action.ARCHIVE_OFFER, _archive),
    "unarchive": _of_house(Action.UNARCHIVE_OFFER, _unarchive),
    "reconcile": _of_house(Action.RECONCILE, _reconcile),
    "replay": _of_house(Action.REPLAY_EVENT, _replay),
    "retry": _of_house(Action.RETRY_JOB, _retry),
    "add to the team": _of_team(Action.ADD_STAFF, _add),
    "change a role": _of_team(Action.CHANGE_ROLE, _change),
    "remove from the team": _of_team(Action.REMOVE_STAFF, _remove),
    "change a webhook endpoint": _of_house(
        Action.MANAGE_WEBHOOKS,
        _on_webhooks(of_webhooks.EDIT, "save", FORGED_ENDPOINT, form=ENDPOINT_FORM),
    ),
    "rotate a webhook secret": _of_house(
        Action.MANAGE_WEBHOOKS, _on_webhooks(of_webhooks.ROTATE, "rotate", FORGED_ENDPOINT)
    ),
    "delete a webhook endpoint": _of_house(
        Action.MANAGE_WEBHOOKS, _on_webhooks(of_webhooks.DELETE, "delete", "whe_deleted")
    ),
    "set default alert rules": _of_house(
        Action.EDIT_ALERT_RULES, _on_rules(of_rules.RULE, "save_rule")
    ),
    "remove a default alert rule": _of_house(
        Action.EDIT_ALERT_RULES, _on_rules(of_rules.REMOVE, "remove_rule")
    ),
    "drop default alert rules": _of_house(
        Action.EDIT_ALERT_RULES, _on_rules(of_rules.DEFAULTS, "use_defaults")
    ),
}

# Tried by test_read_only_handlers_change_nothing: with which words, where there are some.
OF_EVERY_PAGE: Final = {"load": {}, "watch": {}, "dismiss": {}, "setvar": {}}
ON_ENTRIES: Final = {"ask_undo": {"entry_id": "aud_1"}, "close_undo": {}}
ON_OFFER: Final = {
    "set_field": {"name": "name", "value": "Mine"},
    "set_code": {"code": "mine"},
    "ask": {"dialog": of_offers.PUBLISH},
    "keep_mine": {},
    "take_theirs": {},
    "show_holders": {"version": "1"},
    "close": {},
}
ON_CUSTOMER: Final = {
    "choose_part": {"part": "ledger"},
    "ask": {"dialog": "grant", "target": "", "target_name": ""},
    "review": {"form": {"executions": "5", "reason": WHY}},
    "back": {},
    "close": {},
}


def _reading(state: type[Listing], **more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The handlers of every page and every table, and those of this page."""
    table, known = next(iter(state.tables.items()))
    of_tables: dict[str, dict[str, Any]] = {
        "sort_by": {"table": table, "sort": known.usual.sort.value},
        "filter_by": {"table": table, "name": "state", "value": "dead"},
        "clear_filters": {"table": table},
        "show_older": {"table": table},
        "show_newer": {"table": table},
    }
    return OF_EVERY_PAGE | of_tables | more


ON_WEBHOOKS: Final = {
    "begin": {},
    "ask": {"dialog": of_webhooks.ADD, "endpoint_id": ""},
    "close": {},
    "hide_result": {},
    "note_copied": {},
    "choose": {"endpoint_id": "x"},
    "filter_status": {"status": "failed"},
    "filter_type": {"event_type": "invoice.paid"},
    "show_older": {},
    "show_newer": {},
    "open_delivery": {"delivery_id": "x"},
    # Of what is not there; test_webhooks.py has those of endpoints that are.
    "switch": {"endpoint_id": "x"},
    "send_test": {"endpoint_id": "x"},
    "redeliver": {},
}
ON_RULES: Final = {
    "choose_offer": {"code": "growth"},
    "ask_rule": {"dialog": of_rules.RULE, "key": ""},
    "choose_kind": {"kind": "error_loop"},
    "close_rule": {},
    "hide_rule_result": {},
}


READ_ONLY: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "StaffAuditState": _reading(StaffAuditState, **ON_ENTRIES),
    "StaffCustomerState": _reading(StaffCustomerState, **ON_CUSTOMER, **ON_ENTRIES),
    "StaffCustomersState": _reading(StaffCustomersState),
    "StaffOffersState": _reading(StaffOffersState),
    "StaffOfferState": _reading(StaffOfferState, **ON_OFFER),
    "StaffOperationsState": _reading(
        StaffOperationsState,
        choose_part={"part": of_operations.JOBS},
        ask={"dialog": of_operations.RETRY, "target": "x"},
        close={},
    ),
    "StaffOverviewState": _reading(StaffOverviewState, choose_preset={"days": "7"}),
    "StaffWebhooksState": OF_EVERY_PAGE | ON_WEBHOOKS,
    "StaffAlertRulesState": OF_EVERY_PAGE | ON_RULES,
    "StaffTeamState": _reading(
        StaffTeamState, ask={"dialog": of_team.ADD, "user_id": ""}, close={}
    ),
}


def states_of_staff() -> dict[str, State]:
    """Every state of the console that a page has, by name."""
    return {
        name: thing
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        for name, thing in vars(importlib.import_module(each.name)).items()
        if inspect.isclass(thing)
        and issubclass(thing, BaseState)
        and thing.__module__ == each.name
        and issubclass(thing, StaffPage)
        and not thing._mixin
    }
