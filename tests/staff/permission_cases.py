"""Every function of billing/staff and how it is called: what the permission tests go through.

A new public function in billing/staff that takes an `actor` needs a case here, a new route under
/billing/admin a line in routes.py, and a new repair a row in repair_cases.py alone.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from billing_app.billing import ids
from billing_app.billing import staff as staff_package
from billing_app.billing.actors import Actor
from billing_app.billing.alerts.rules import Rule
from billing_app.billing.staff.access import browser_sessions, members, portal_sessions, viewing
from billing_app.billing.staff.access.permissions import RANKS, Action
from billing_app.billing.staff.audit import account_history, audit_reading
from billing_app.billing.staff.catalogue import alert_defaults, offer_pushes, offers, publishing
from billing_app.billing.staff.catalogue.offer_files import FileOffer
from billing_app.billing.staff.customers import account, customers, denials
from billing_app.billing.staff.customers.search import CustomerFilter
from billing_app.billing.staff.operations import (
    jobs,
    metrics,
    provider_events,
    reconciliations,
    trouble,
    unsettled_leases,
)
from billing_app.billing.staff.operations.jobs import JobsUnavailableError
from billing_app.billing.staff.repairs import refunds, service, trusted_invoices
from billing_app.billing.staff.repairs.registry import BY_NAME
from billing_app.billing.staff.repairs.repair import Repair
from billing_app.billing.usage.service import Days
from billing_app.db.enums import AlertKind, StaffRole
from billing_app.payments.dashboard import Dashboard
from tests.staff.permission_scene import FIELDS, OTHER_FIELDS, PORTAL_PERSON, Scene
from tests.staff.repair_cases import REPAIR_CASES, RepairCase


class NoJobs:
    """Nobody who would take a job."""

    def __getattr__(self, name: str) -> Any:
        raise JobsUnavailableError


NO_JOBS: Any = NoJobs()
LINKS = Dashboard(None)


Call = Callable[[Scene, Actor], Awaitable[Any]]


@dataclass(frozen=True)
class Case:
    """`action` None: whoever may read the account. `changes`: rows, and so the audit log."""

    action: Action | None
    call: Call
    changes: bool = True
    is_repair: bool = False


def reads(call: Call) -> Case:
    return Case(Action.READ, call, changes=False)


def new_offer() -> offer_pushes.OfferPush:
    return offer_pushes.OfferPush(FileOffer(ids.new_id("new-"), FIELDS), None, {}, False, None)


# Said here once more, so that a wrong role in the product fails.
LEAST: dict[Action, StaffRole] = {
    Action.READ: StaffRole.SUPPORT,
    Action.VIEW_AS_CUSTOMER: StaffRole.SUPPORT,
    Action.END_VIEW: StaffRole.SUPPORT,
    Action.UNDO: StaffRole.SUPPORT,
    Action.SIGN_OUT: StaffRole.SUPPORT,
    Action.END_PORTAL_SESSIONS: StaffRole.SUPPORT,
    Action.REPLAY_EVENT: StaffRole.BILLING,
    Action.RECONCILE: StaffRole.BILLING,
    Action.RETRY_JOB: StaffRole.BILLING,
    Action.EDIT_OFFER: StaffRole.ADMIN,
    Action.PUBLISH_OFFER: StaffRole.ADMIN,
    Action.ARCHIVE_OFFER: StaffRole.ADMIN,
    Action.UNARCHIVE_OFFER: StaffRole.ADMIN,
    Action.MANAGE_WEBHOOKS: StaffRole.ADMIN,
    Action.EDIT_ALERT_RULES: StaffRole.ADMIN,
    Action.ADD_STAFF: StaffRole.ADMIN,
    Action.CHANGE_ROLE: StaffRole.ADMIN,
    Action.REMOVE_STAFF: StaffRole.ADMIN,
} | {BY_NAME[name].action: case.least for name, case in REPAIR_CASES.items()}


def allows(action: Action, role: StaffRole) -> bool:
    return RANKS[role] >= RANKS[LEAST[action]]


CASES: dict[str, Case] = {
    "account.list_account_invoices": reads(
        lambda s, a: account.list_account_invoices(
            s.staff_services.database, LINKS, a, s.customer.id
        )
    ),
    "account.list_account_keys": reads(
        lambda s, a: account.list_account_keys(s.staff_services.database, a, s.customer.id)
    ),
    "account.list_people": reads(
        lambda s, a: account.list_people(s.staff_services.database, a, s.customer.id)
    ),
    "account.list_reservations": reads(
        lambda s, a: account.list_reservations(
            s.staff_services.database, a, s.customer.id, now=s.now
        )
    ),
    "account.list_subscriptions": reads(
        lambda s, a: account.list_subscriptions(s.staff_services.database, LINKS, a, s.customer.id)
    ),
    "account.read_identity": reads(
        lambda s, a: account.read_identity(
            s.staff_services.database, LINKS, a, s.customer.id, s.now
        )
    ),
    "trusted_invoices.list_trustable": reads(
        lambda s, a: trusted_invoices.list_trustable(s.staff_services.database, a, s.customer.id)
    ),
    "audit_reading.list_entries": reads(
        lambda s, a: audit_reading.list_entries(s.staff_services.database, a)
    ),
    "customers.search_customers": reads(
        lambda s, a: customers.search_customers(
            s.staff_services.database, a, CustomerFilter(), now=s.now
        )
    ),
    "customers.read_names": reads(
        lambda s, a: customers.read_names(s.staff_services.database, a, [s.customer.id])
    ),
    "provider_events.list_received": reads(
        lambda s, a: provider_events.list_received(s.staff_services.database, LINKS, a)
    ),
    "denials.list_denials": reads(
        lambda s, a: denials.list_denials(
            s.staff_services.database, a, s.customer.id, Days(s.now.date(), s.now.date())
        )
    ),
    "disputes.Disputes.read": reads(
        lambda s, a: s.staff_services.disputes.read(a, s.customer.id, s.now)
    ),
    "refunds.read_refunded": reads(
        lambda s, a: refunds.read_refunded(s.staff_services.database, a, s.customer.id, [1])
    ),
    "provider_events.read_received": reads(
        lambda s, a: provider_events.read_received(
            s.staff_services.database, LINKS, a, s.dead_event
        )
    ),
    # No worker is there to take jobs: that they are audited is for test_webhooks_and_jobs.py.
    "provider_events.replay_event": Case(
        Action.REPLAY_EVENT,
        lambda s, a: provider_events.replay_event(
            s.staff_services.database, NO_JOBS, a, s.dead_event, **s.because
        ),
        changes=False,
    ),
    "jobs.list_jobs": reads(lambda _, a: jobs.list_jobs(NO_JOBS, a)),
    "jobs.read_job": reads(lambda _, a: jobs.read_job(NO_JOBS, a, "job")),
    "jobs.retry_job": Case(
        Action.RETRY_JOB,
        lambda s, a: jobs.retry_job(s.staff_services.database, NO_JOBS, a, "job", **s.because),
        changes=False,
    ),
    "reconciliations.list_reconciliations": reads(
        lambda s, a: reconciliations.list_reconciliations(s.staff_services.database, a)
    ),
    "unsettled_leases.list_unsettled": reads(
        lambda s, a: unsettled_leases.list_unsettled(s.staff_services.database, a, now=s.now)
    ),
    "reconciliations.list_differences": reads(
        lambda s, a: reconciliations.list_differences(s.staff_services.database, a)
    ),
    "reconciliations.run_reconciliation": Case(
        Action.RECONCILE,
        lambda s, a: reconciliations.run_reconciliation(
            s.staff_services.database, NO_JOBS, a, dry_run=True, **s.because
        ),
        changes=False,
    ),
    "audit_reading.read_entry": reads(
        lambda s, a: audit_reading.read_entry(s.staff_services.database, a, s.entry.id)
    ),
    "audit_reading.read_subjects": reads(
        lambda s, a: audit_reading.read_subjects(s.staff_services.database, a, [s.entry])
    ),
    "disputes.Disputes.awaiting_evidence": reads(
        lambda s, a: s.staff_services.disputes.awaiting_evidence(a, s.now)
    ),
    "provider_events.count_dead": reads(
        lambda s, a: provider_events.count_dead(s.staff_services.database, a, s.customer.id)
    ),
    "provider_events.events_ahead": reads(
        lambda s, a: provider_events.events_ahead(s.staff_services.database, a, s.dead_event)
    ),
    "service.is_blocked": reads(
        lambda s, a: service.is_blocked(s.staff_services.repairs, a, s.customer.id)
    ),
    "trouble.read_trouble": reads(
        lambda s, a: trouble.read_trouble(
            s.staff_services.database, NO_JOBS, s.staff_services.disputes, a, s.now
        )
    ),
    "account_history.read_undone": reads(
        lambda s, a: account_history.read_undone(s.staff_services.database, a, [s.entry])
    ),
    "account_history.read_account_history": Case(
        None,
        lambda s, a: account_history.read_account_history(
            s.staff_services.database, a, s.customer.id
        ),
        changes=False,
    ),
    "members.add_member": Case(
        Action.ADD_STAFF,
        lambda s, a: members.add_member(
            s.staff_services.database,
            a,
            email=f"{ids.new_id('new')}@our.house",
            role=StaffRole.SUPPORT,
            **s.because,
        ),
    ),
    "members.change_role": Case(
        Action.CHANGE_ROLE,
        lambda s, a: members.change_role(
            s.staff_services.database, a, user_id=s.member_id, role=StaffRole.BILLING, **s.because
        ),
    ),
    "members.find_member": reads(
        lambda s, a: members.find_member(
            s.staff_services.database, a, email=f"{s.member_id}@example.com"
        )
    ),
    "members.list_members": reads(lambda s, a: members.list_members(s.staff_services.database, a)),
    "members.search_members": reads(
        lambda s, a: members.search_members(s.staff_services.database, a)
    ),
    "members.remove_member": Case(
        Action.REMOVE_STAFF,
        lambda s, a: members.remove_member(
            s.staff_services.database, a, user_id=s.member_id, **s.because
        ),
    ),
    "metrics.read_overview": reads(
        lambda s, a: metrics.read_overview(
            s.staff_services.database, a, Days(s.began.date(), s.now.date()), s.now
        )
    ),
    "metrics.list_near_limit": reads(
        lambda s, a: metrics.list_near_limit(s.staff_services.database, a, now=s.now)
    ),
    "offers.list_accounts_on": reads(
        lambda s, a: offers.list_accounts_on(s.staff_services.database, a, "growth", 1, now=s.now)
    ),
    "offers.list_versions": reads(
        lambda s, a: offers.list_versions(s.staff_services.database, a, s.draft, now=s.now)
    ),
    "offers.list_staff_offers": reads(
        lambda s, a: offers.list_staff_offers(s.staff_services.database, a, now=s.now)
    ),
    "offers.read_offer": reads(
        lambda s, a: offers.read_offer(s.staff_services.database, a, s.draft, s.now)
    ),
    "offer_pushes.read_catalogue": reads(
        lambda s, a: offer_pushes.read_catalogue(s.staff_services.database, a, s.now)
    ),
    "offer_pushes.plan_push": Case(
        Action.EDIT_OFFER,
        lambda s, a: offer_pushes.plan_push(
            s.staff_services.database, a, [new_offer().offer], publish=False, now=s.now
        ),
        changes=False,
    ),
    "offer_pushes.apply_push": Case(
        Action.EDIT_OFFER,
        lambda s, a: offer_pushes.apply_push(
            s.staff_services.database,
            s.staff_services.provider,
            a,
            offer_pushes.Push([new_offer()], 0, [], 0),
            **s.because,
        ),
    ),
    "publishing.archive_offer": Case(
        Action.ARCHIVE_OFFER,
        lambda s, a: publishing.archive_offer(s.staff_services.database, a, s.draft, **s.because),
    ),
    "publishing.create_offer": Case(
        Action.EDIT_OFFER,
        lambda s, a: publishing.create_offer(
            s.staff_services.database, a, code=ids.new_id("new-"), fields=FIELDS, **s.because
        ),
    ),
    "publishing.edit_offer": Case(
        Action.EDIT_OFFER,
        lambda s, a: publishing.edit_offer(
            s.staff_services.database,
            a,
            s.draft,
            revision=1,
            fields=OTHER_FIELDS,
            **s.because,
        ),
    ),
    # Nobody is there to make the price: that publishing is whole is for test_offers.py.
    "publishing.publish_draft": Case(
        Action.PUBLISH_OFFER,
        lambda s, a: publishing.publish_draft(
            s.staff_services.database,
            s.staff_services.provider,
            a,
            s.draft,
            revision=1,
            **s.because,
        ),
        changes=False,
    ),
    "publishing.unarchive_offer": Case(
        Action.UNARCHIVE_OFFER,
        lambda s, a: publishing.unarchive_offer(
            s.staff_services.database, a, s.archived, **s.because
        ),
    ),
    "alert_defaults.list_default_rules": reads(
        lambda s, a: alert_defaults.list_default_rules(s.staff_services.database, a)
    ),
    "alert_defaults.set_default_rules": Case(
        Action.EDIT_ALERT_RULES,
        lambda s, a: alert_defaults.set_default_rules(
            s.staff_services.database,
            a,
            s.archived,
            [Rule(AlertKind.REMAINING_SHARE, 20)],
            **s.because,
        ),
    ),
    "browser_sessions.list_account_sessions": reads(
        lambda s, a: browser_sessions.list_account_sessions(
            s.staff_services.database, a, s.customer.id, now=s.now
        )
    ),
    "browser_sessions.sign_out_person": Case(
        Action.SIGN_OUT,
        lambda s, a: browser_sessions.sign_out_person(
            s.staff_services.database, a, s.customer.id, user_id=s.holder_id, **s.because
        ),
    ),
    "portal_sessions.list_portal_sessions": reads(
        lambda s, a: portal_sessions.list_portal_sessions(
            s.staff_services.database, a, s.customer.id, now=s.now
        )
    ),
    "portal_sessions.end_portal_sessions": Case(
        Action.END_PORTAL_SESSIONS,
        lambda s, a: portal_sessions.end_portal_sessions(
            s.staff_services.database, a, s.customer.id, person_id=PORTAL_PERSON, **s.because
        ),
    ),
}


def _carry_out(repair: Repair[Any], case: RepairCase) -> Case:
    async def call(scene: Scene, actor: Actor) -> Any:
        target_id, form = case.target_id(scene, repair), case.form(scene, repair)
        services = scene.staff_services.repairs
        return await service.carry_out(services, actor, repair, target_id, form, **scene.because)

    return Case(repair.action, call, changes=case.changes, is_repair=True)


def _review(repair: Repair[Any], case: RepairCase) -> Case:
    async def call(scene: Scene, actor: Actor) -> Any:
        target_id, form = case.target_id(scene, repair), case.form(scene, repair)
        services, account_id = (
            scene.staff_services.repairs,
            ids.encode_account(repair.target.numbers(target_id)[0]),
        )
        return await service.review(
            services, actor, repair, target_id, form, account_id=account_id, now=scene.now
        )

    return Case(repair.action, call, changes=False, is_repair=True)


def _preview(repair: Repair[Any], case: RepairCase) -> Case:
    async def call(scene: Scene, actor: Actor) -> Any:
        target_id, form = case.target_id(scene, repair), case.form(scene, repair)
        services = scene.staff_services.repairs
        return await service.preview(services, actor, repair, target_id, form, scene.now)

    return Case(repair.action, call, changes=False)


for _name, _case in REPAIR_CASES.items():
    _row = BY_NAME[_name]
    CASES[f"service.carry_out {_name}"] = _carry_out(_row, _case)
    CASES[f"service.review {_name}"] = _review(_row, _case)
    if _row.preview_route is not None:
        CASES[f"service.preview {_name}"] = _preview(_row, _case)
CASES["service.undo"] = Case(
    Action.UNDO,
    lambda s, a: service.undo(s.staff_services.repairs, a, s.entry.id, **s.because),
    is_repair=True,
)


CASES["service.review_undo"] = Case(
    Action.UNDO,
    lambda s, a: service.review_undo(s.staff_services.repairs, a, s.entry.id, now=s.now),
    changes=False,
    is_repair=True,
)


async def _begin_view(scene: Scene, actor: Actor) -> Any:
    token = scene.token(actor)
    return await viewing.begin_view(
        scene.staff_services.database, actor, token, scene.customer.id, **scene.because
    )


async def _end_view(scene: Scene, actor: Actor) -> Any:
    token = await scene.viewing_token(actor)
    return await viewing.end_view(scene.staff_services.database, actor, token, scene.now)


CASES |= {
    "viewing.begin_view": Case(Action.VIEW_AS_CUSTOMER, _begin_view),
    "viewing.end_view": Case(Action.END_VIEW, _end_view),
}


def functions_of_staff() -> set[str]:
    """All public functions and methods of billing/staff that take an actor and authorize it."""
    found: set[str] = set()
    for module_info in pkgutil.walk_packages(staff_package.__path__, f"{staff_package.__name__}."):
        module = importlib.import_module(module_info.name)
        for name, thing in _public(vars(module), module.__name__):
            for path, function in _functions(name, thing):
                parameter = inspect.signature(function).parameters.get("actor")
                if parameter is not None and parameter.annotation == Actor:
                    found.add(f"{module.__name__.rsplit('.', 1)[1]}.{path}")
    return found - {"permissions.require"}


def _public(things: dict[str, Any], module: str) -> list[tuple[str, Any]]:
    return [
        (name, thing)
        for name, thing in things.items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module
    ]


def _functions(name: str, thing: Any) -> list[tuple[str, Any]]:
    if inspect.isfunction(thing):
        return [(name, thing)]
    if not inspect.isclass(thing):
        return []
    return [
        (f"{name}.{path}", function)
        for path, function in vars(thing).items()
        if inspect.isfunction(function) and not path.startswith("_")
    ]
