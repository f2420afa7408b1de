"""Every list of the staff in one table, with the filters it has and the rows that then stay."""

from datetime import UTC, date, datetime

from billing_app.billing import ids
from billing_app.billing.actors import StaffActor
from billing_app.billing.plans import service as plans
from billing_app.billing.staff.access import browser_sessions, members, portal_sessions
from billing_app.billing.staff.access.permissions import RANKS, Action
from billing_app.billing.staff.audit import audit_reading
from billing_app.billing.staff.catalogue import offers
from billing_app.billing.staff.customers import account, reservations
from billing_app.billing.staff.operations import jobs, metrics, provider_events, reconciliations
from billing_app.billing.subscriptions import invoices
from billing_app.billing.usage import service as usage
from billing_app.billing.usage.service import Days
from billing_app.db.enums import (
    AccountKind,
    EventKind,
    Interval,
    InvoiceStatus,
    PlanSource,
    ReservationStatus,
    Role,
    StaffRole,
    WebhookState,
)
from tests.staff.list_cases import List, field, ids_of, of
from tests.staff.rows import account_names, names

SUPPORT = StaffActor("usr_support", "Sam", StaffRole.SUPPORT)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAYS = Days(date(2026, 3, 2), date(2026, 3, 3))
ACCOUNT = (lambda _: SUPPORT, lambda desk: desk.account_id)
LINKED = (lambda desk: desk.links, *ACCOUNT)


def _within(moment: datetime) -> bool:
    return DAYS.first <= moment.date() <= DAYS.last


LISTS: dict[str, List] = {
    "audit": List(
        audit_reading.EntrySort,
        of(audit_reading.list_entries, lambda _: SUPPORT),
        lambda row: row.id,
        lambda desk: {
            audit_reading.encode_entry(int(number))
            for number in names(desk.rows.url, "SELECT id FROM audit_entries")
        },
        field(),
        (
            ({"where": audit_reading.EntryQuery(days=DAYS)}, lambda row: _within(row.at)),
            (
                {"where": audit_reading.EntryQuery("usr_a", Action.GRANT, days=DAYS)},
                lambda row: (
                    row.actor_id == "usr_a" and row.action == Action.GRANT and _within(row.at)
                ),
            ),
        ),
    ),
    "webhooks": List(
        provider_events.EventSort,
        of(provider_events.list_received, lambda desk: desk.links, lambda _: SUPPORT),
        lambda row: row.id,
        lambda desk: names(desk.rows.url, "SELECT id FROM webhook_events"),
        field(received="received_at"),
        (
            (
                {"where": provider_events.EventQuery(days=DAYS)},
                lambda row: _within(row.received_at),
            ),
            (
                {"where": provider_events.EventQuery(state=WebhookState.DEAD)},
                lambda row: row.state is WebhookState.DEAD,
            ),
            (
                {"where": provider_events.EventQuery(type="invoice.", state=WebhookState.FAILED)},
                lambda row: row.type.startswith("invoice.") and row.state is WebhookState.FAILED,
            ),
            (
                {"where": provider_events.EventQuery(type="invoice.paid")},
                lambda r: r.type == "invoice.paid",
            ),
        ),
    ),
    "reconciliations": List(
        reconciliations.ReconciliationSort,
        of(reconciliations.list_reconciliations, lambda _: SUPPORT),
        lambda row: row.began_at.hour,
        lambda desk: names(
            desk.rows.url, "SELECT extract(hour FROM began_at)::int FROM reconciliations"
        ),
        field(began="began_at"),
        (
            (
                {"dry_run": True, "differs": True},
                lambda row: row.dry_run and row.differences > 0,
            ),
            ({"differs": False}, lambda row: row.differences == 0),
        ),
    ),
    "differences": List(
        reconciliations.DifferenceSort,
        of(reconciliations.list_differences, lambda _: SUPPORT),
        lambda row: row.provider_id,
        lambda _: {f"in_{n}" for n in range(13)},
        lambda row, sort: (
            int(row.provider_id.removeprefix("in_"))
            if sort is reconciliations.DifferenceSort.FOUND
            else field(account="account_id")(row, sort)
        ),
        (
            (
                {"where": reconciliations.DifferenceQuery(healed=True, what="invoice")},
                lambda row: row.healed and row.what == "invoice",
            ),
        ),
    ),
    "jobs": List(
        jobs.JobSort,
        lambda desk: lambda **page: jobs.list_jobs(desk.jobs, SUPPORT, **page),
        lambda row: row.id,
        lambda _: {f"job {n:02}" for n in range(19)},
        field(created="created_at"),
        (
            (
                {"where": jobs.JobQuery(jobs.JobState.FAILED, "syn", DAYS)},
                lambda row: row.state is jobs.JobState.FAILED and _within(row.created_at),
            ),
            ({"where": jobs.JobQuery(name="other")}, lambda _: False),
        ),
    ),
    "sessions": List(
        browser_sessions.SessionSort,
        of(browser_sessions.list_account_sessions, *ACCOUNT, now=NOW),
        lambda row: (row.user_id, row.created_at, row.expires_at),
        lambda _: set(),
        field(since="created_at", ends="expires_at", person="name"),
        (
            ({"live": True}, lambda row: row.is_live),
            ({"live": False}, lambda row: not row.is_live),
        ),
    ),
    "portal sessions": List(
        portal_sessions.PortalSessionSort,
        of(portal_sessions.list_portal_sessions, *ACCOUNT, now=NOW),
        lambda row: (row.person_id, row.created_at, row.expires_at),
        lambda _: set(),
        field(since="created_at", ends="expires_at", person="name"),
        (
            ({"live": True}, lambda row: row.is_live),
            ({"live": False}, lambda row: not row.is_live),
        ),
    ),
    "people": List(
        account.PersonSort,
        of(account.list_people, *ACCOUNT),
        lambda row: row.user_id,
        lambda _: {f"usr_{n:02}" for n in range(11)},
        field(id="user_id"),
        (({"role": Role.OWNER}, lambda row: row.role is Role.OWNER),),
    ),
    "members": List(
        members.MemberSort,
        of(members.search_members, lambda _: SUPPORT),
        lambda row: row.user_id,
        lambda _: {f"usr_{n:02}" for n in range(11)},
        lambda row, sort: (
            RANKS[row.role]
            if sort is members.MemberSort.ROLE
            else field(since="added_at")(row, sort)
        ),
        (
            ({"role": StaffRole.ADMIN}, lambda row: row.role is StaffRole.ADMIN),
            ({"query": " AMB"}, lambda row: row.name == "amber"),
            ({"query": "p1@"}, lambda row: row.email == "p1@example.com"),
            ({"query": "%"}, lambda _: False),
        ),
    ),
    "keys": List(
        account.KeySort,
        of(account.list_account_keys, *ACCOUNT),
        lambda row: row.id,
        lambda desk: names(desk.rows.url, "SELECT id FROM api_keys"),
        field(made="id"),
        (
            ({"revoked": True}, lambda row: row.revoked_at is not None),
            ({"revoked": False}, lambda row: row.revoked_at is None),
        ),
    ),
    "reservations": List(
        reservations.ReservationSort,
        of(account.list_reservations, *ACCOUNT, now=NOW),
        lambda row: row.id,
        ids_of(ids.RESERVATION, "SELECT number FROM reservations"),
        lambda row, sort: (
            (row.status is ReservationStatus.HELD, row.created_at)
            if sort is reservations.ReservationSort.STATUS
            else row.created_at
        ),
        (
            (
                {"where": reservations.ReservationQuery(status=ReservationStatus.EXPIRED)},
                lambda row: row.status is ReservationStatus.EXPIRED,
            ),
            (
                {"where": reservations.ReservationQuery(None, "index", "usr_a", DAYS)},
                lambda row: (
                    row.workflow == "index" and row.user_id == "usr_a" and _within(row.created_at)
                ),
            ),
        ),
    ),
    "invoices": List(
        invoices.InvoiceSort,
        of(account.list_account_invoices, *LINKED),
        lambda row: row.invoice.id,
        lambda desk: names(
            desk.rows.url, "SELECT provider_id FROM invoices WHERE status <> 'draft'"
        ),
        field(
            issued="invoice.issued_at",
            number="invoice.number",
            amount="invoice.amount_due_minor",
            status="invoice.status",
        ),
        (
            (
                {"where": invoices.InvoiceQuery(InvoiceStatus.PAID, DAYS)},
                lambda row: (
                    row.invoice.status is InvoiceStatus.PAID and _within(row.invoice.issued_at)
                ),
            ),
        ),
    ),
    "ledger": List(
        usage.LedgerSort,
        of(usage.list_events, *ACCOUNT),
        lambda row: row.id,
        ids_of(ids.EVENT, "SELECT number FROM execution_events"),
        field(at="number"),
        (
            (
                {"where": usage.EventFilter(EventKind.COMMIT, "", None, DAYS.first, DAYS.last)},
                lambda row: (
                    row.kind is EventKind.COMMIT and row.workflow == "" and _within(row.occurred_at)
                ),
            ),
        ),
    ),
    "plans": List(
        plans.PlanSort,
        of(plans.read_history, *ACCOUNT, now=NOW),
        lambda row: row.id,
        ids_of(ids.PLAN, "SELECT sequence FROM plans"),
        field(queue="sequence", begins="begins_at"),
        (
            (
                {"where": plans.PlanQuery(plans.PlanState.ENDED, PlanSource.CONTRACT)},
                lambda row: (
                    row.state is plans.PlanState.ENDED and row.source is PlanSource.CONTRACT
                ),
            ),
        ),
    ),
    "offers": List(
        offers.OfferSort,
        of(offers.list_staff_offers, lambda _: SUPPORT, now=NOW),
        lambda row: row.code,
        lambda _: {f"offer-{n}" for n in range(9)},
        field(
            name="draft.fields.terms.name",
            price="draft.fields.terms.price_minor",
            executions="draft.fields.terms.executions",
        ),
        (
            (
                {"where": offers.OfferQuery("", offers.OfferState.PUBLISHED, Interval.YEAR)},
                lambda row: (
                    row.state is offers.OfferState.PUBLISHED
                    and row.draft.fields.terms.interval is Interval.YEAR
                ),
            ),
            ({"where": offers.OfferQuery("FER-3")}, lambda row: row.code == "offer-3"),
        ),
    ),
    "versions": List(
        offers.VersionSort,
        of(offers.list_versions, lambda _: SUPPORT, lambda _: "offer-1", now=NOW),
        lambda row: row.version,
        lambda _: {str(number) for number in range(1, 10)},
        field(price="terms.price_minor", executions="terms.executions", published="published_at"),
        (
            ({"held": True}, lambda row: row.accounts > 0),
            ({"held": False}, lambda row: not row.accounts),
        ),
    ),
    "holders": List(
        offers.HolderSort,
        of(
            offers.list_accounts_on,
            lambda _: SUPPORT,
            lambda _: "offer-1",
            lambda _: 1,
            now=NOW,
        ),
        lambda row: row.account_id,
        lambda desk: account_names(
            desk.rows.url,
            "SELECT account_id FROM plans WHERE offer_version_id IS NOT NULL UNION"
            " SELECT account_id FROM subscriptions WHERE ended_at IS NULL",
        ),
        field(account="account_id"),
        (
            (
                {"where": offers.HolderQuery(AccountKind.ORGANIZATION, past_due=True)},
                lambda row: row.past_due_since is not None,
            ),
            (
                {"where": offers.HolderQuery(past_due=False)},
                lambda row: row.past_due_since is None,
            ),
            ({"where": offers.HolderQuery(AccountKind.USER)}, lambda _: False),
        ),
    ),
    "near limit": List(
        metrics.NearSort,
        of(metrics.list_near_limit, lambda _: SUPPORT, now=NOW),
        lambda row: row.account_id,
        lambda desk: account_names(desk.rows.url, "SELECT account_id FROM accounts_near_limit"),
        lambda *_: 0,
    ),
}
