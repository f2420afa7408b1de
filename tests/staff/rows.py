"""A database whose every list of the staff has more than a page, with many rows that are alike."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from billing_app.billing import ids
from billing_app.billing.staff.access.permissions import Action
from billing_app.db.enums import (
    EventKind,
    InvoiceStatus,
    PlanSource,
    ReservationStatus,
    StaffRole,
    WebhookState,
)
from tests.factories import Holder, connect, organization, public_organization

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORKFLOWS = ("", "index", "report")
USERS = ("", "usr_a", "usr_b")
TYPES = ("invoice.created", "invoice.paid", "customer.created", "customer.subscription.deleted")
STATUSES = ("SUCCESS", "ERROR", "PENDING", "ENQUEUED")
NAMES = ("amber", "birch", "cedar", "delta")


@dataclass
class Rows:
    """`holder` has the rows of an account; `random` is the same each time."""

    url: str
    holder: Holder
    random: random.Random

    @property
    def account(self) -> int:
        return self.holder.account_number

    def at(self) -> datetime:
        """One of a few moments of a few days, so that many rows share theirs."""
        return BEGAN + timedelta(days=self.random.randrange(4), hours=self.random.randrange(2))

    def one_of(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def insert(self, table: str, *rows: dict[str, Any], more: str = "") -> None:
        with connect(self.url) as connection:
            for row in rows:
                _insert(connection, table, row, more)


def _insert(
    connection: "psycopg.Connection[Any]", table: str, row: dict[str, Any], more: str
) -> None:
    values = [Jsonb(each) if isinstance(each, dict | list) else each for each in row.values()]
    columns, marks = ", ".join(f'"{name}"' for name in row), ", ".join(["%s"] * len(row))
    statement = f"INSERT INTO {table} ({columns}) {more} VALUES ({marks})"  # noqa: S608
    connection.execute(statement, values)  # pyright: ignore[reportArgumentType, reportCallIssue]


def fill(url: str) -> Rows:
    public_organization(url)
    rows = Rows(url, organization(url), random.Random(7))  # noqa: S311 - the same rows each time
    for write in (
        _people,
        _portal_sessions,
        _keys,
        _plans_and_offers,
        _events,
        _reservations,
        _invoices,
        _webhooks,
        _comparisons,
        _audit,
        _near_limit,
    ):
        write(rows)
    return rows


def _people(rows: Rows) -> None:
    for n in range(11):
        user_id = f"usr_{n:02}"
        person = {"id": user_id, "name": rows.one_of(*NAMES), "created_at": rows.at()}
        email = {"email": f"p{n}@example.com", "password_hash": "x"} if n % 3 else {}
        rows.insert("users", person | email)
        membership = {"organization_id": rows.holder.organization_id, "user_id": user_id}
        role = rows.one_of("owner", "member")
        rows.insert("memberships", membership | {"role": role, "created_at": rows.at()})
        member = {"role": rows.one_of(*StaffRole), "added_at": rows.at()}
        rows.insert("staff_members", {"user_id": user_id} | member)
        for m in range(2):
            session = {"token_hash": f"{n} {m}".encode(), "user_id": user_id, "user_agent": ""}
            ends = rows.at() + timedelta(days=rows.one_of(0, 4_000))
            rows.insert("sessions", session | {"created_at": rows.at(), "expires_at": ends})


def _portal_sessions(rows: Rows) -> None:
    for n in range(9):
        session = {"token_hash": f"portal {n}".encode(), "account_id": rows.holder.account_number}
        session |= {"person_id": f"p{n // 2}", "person_name": rows.one_of(*NAMES)}
        session |= {"person_email": "", "role": "owner", "return_url": "", "user_agent": ""}
        ends = rows.at() + timedelta(days=rows.one_of(0, 4_000))
        rows.insert("portal_sessions", session | {"created_at": rows.at(), "expires_at": ends})


def _keys(rows: Rows) -> None:
    for n in range(9):
        key = {"name": rows.one_of(*NAMES), "key_hash": f"key {n}".encode(), "hint": "bil_"}
        key |= {"scopes": "{executions}", "organization_id": rows.holder.organization_id}
        ended = rows.one_of(None, rows.at())
        rows.insert("api_keys", key | {"created_at": rows.at(), "revoked_at": ended})


def _plans_and_offers(rows: Rows) -> None:
    terms = {"description": "", "currency": "USD", "trial_days": 0, "overage": "hard"}
    terms |= {"overage_unit_executions": 1, "priority": 100}
    with connect(rows.url) as connection:
        for n in range(9):
            code, at = f"offer-{n}", rows.at()
            (offer_id,) = connection.execute(
                "INSERT INTO offers (code, position, visible, published_revision, archived_at,"
                " created_at) VALUES (%s, %s, true, 1, %s, %s) RETURNING id",
                [code, n // 2, at if n % 4 == 3 else None, at],
            ).fetchone()  # pyright: ignore[reportGeneralTypeIssues]
            says = terms | {"name": rows.one_of(*NAMES), "executions": rows.one_of(5, 7)}
            says |= {"price_minor": rows.one_of(100, 200), "interval": rows.one_of("month", "year")}
            draft = {"revision": 1, "position": n // 2, "visible": True, "edited_by": "usr_00"}
            draft |= {"offer_id": offer_id, "edited_by_name": "Ada", "edited_at": at}
            _insert(connection, "offer_drafts", says | draft, "")
            for number in range(1, 10 if n == 1 else 1 + (n % 3 > 0)):
                version = {"offer_id": offer_id, "version": number, "created_at": rows.at()}
                version |= {"price_minor": says["price_minor"] + number % 3}
                _insert(connection, "offer_versions", says | version, "")
        found = connection.execute("SELECT min(id) FROM offer_versions").fetchone()
    version_id = found[0] if found else None
    for sequence in range(1, 14):
        used = rows.one_of(0, 3, 5)
        begins = rows.at()
        ends = begins + timedelta(days=rows.one_of(1, 5_000))
        plan = {"account_id": rows.account, "sequence": sequence, "type": "paid", "used": used}
        plan |= {"name": rows.one_of(*NAMES), "executions": rows.one_of(5, 50), "held": 0}
        plan |= {"source": rows.one_of(PlanSource.CONTRACT, PlanSource.STAFF_GRANT)}
        rows.insert("plans", plan | {"starts_at": begins, "ends_at": ends, "created_at": begins})
    for n in range(14):
        on_version = {"offer_version_id": version_id, "created_at": rows.at()}
        holder = organization(rows.url)
        plan = {"account_id": holder.account_number, "sequence": 1, "type": "paid", "name": "P"}
        plan |= {"source": "contract", "executions": 5, "used": 0, "held": 0, "starts_at": BEGAN}
        if n % 3:
            rows.insert("plans", plan | on_version)
        subscription = {"account_id": holder.account_number, "number": 1, "status": "active"}
        subscription |= {"provider_id": f"sub_{n}", "period_start": BEGAN, "period_end": BEGAN}
        late = {"past_due_since": BEGAN if n % 4 == 0 else None, "cancel_at_period_end": False}
        if not n % 3 or n % 2:
            rows.insert("subscriptions", subscription | late | on_version | {"synced_at": BEGAN})
    for n in range(1, 8):
        subscription = {"account_id": rows.account, "number": n, "status": "canceled"}
        subscription |= {"provider_id": f"sub_own_{n}", "period_start": BEGAN, "ended_at": BEGAN}
        subscription |= {"offer_version_id": version_id, "cancel_at_period_end": False}
        dates = {"period_end": rows.at(), "synced_at": BEGAN, "created_at": BEGAN}
        rows.insert("subscriptions", subscription | dates)


def _events(rows: Rows) -> None:
    for n in range(21):
        at = rows.at() + timedelta(microseconds=n)
        event = {"account_id": rows.account, "number": _number(at), "plan_sequence": 1}
        event |= {"kind": rows.one_of(EventKind.CONSUME, EventKind.COMMIT), "executions": 1}
        event |= {"plan_used_after": 0, "remaining_after": 0, "refers_to": None, "reason": ""}
        event |= {"workflow": rows.one_of(*WORKFLOWS), "user_id": rows.one_of(*USERS)}
        both = [event | {"plan_sequence": plan} for plan in range(1, rows.one_of(2, 3))]
        for part in both:
            rows.insert("execution_events", part | {"idempotency_key": "", "occurred_at": at})


def _reservations(rows: Rows) -> None:
    for n in range(23):
        at = rows.at() + timedelta(microseconds=n)
        status = rows.one_of(
            ReservationStatus.HELD, ReservationStatus.RELEASED, ReservationStatus.EXPIRED
        )
        held = {"account_id": rows.account, "number": _number(at), "status": status}
        held |= {"executions": 1, "workflow": rows.one_of(*WORKFLOWS), "idempotency_key": ""}
        held |= {"user_id": rows.one_of(*USERS), "created_at": at, "expires_at": at}
        rows.insert("reservations", held)


def _invoices(rows: Rows) -> None:
    for n in range(17):
        invoice = {"account_id": rows.account, "provider_id": f"in_{n:02}", "currency": "USD"}
        invoice |= {"number": rows.one_of("", "N-1", "N-2"), "status": rows.one_of(*InvoiceStatus)}
        invoice |= {"amount_due_minor": rows.one_of(100, 200), "amount_paid_minor": 0}
        texts = {"billing_reason": "", "page_url": "", "pdf_url": ""}
        rows.insert("invoices", invoice | texts | {"issued_at": rows.at(), "synced_at": BEGAN})


def _webhooks(rows: Rows) -> None:
    rows.insert(
        "provider_customers",
        {"account_id": rows.account, "customer_id": "cus_own", "created_at": BEGAN},
    )
    for n in range(31):
        event = {"id": f"evt_{n:02}", "type": rows.one_of(*TYPES), "object_id": "", "payload": {}}
        event |= {"customer_id": rows.one_of("", "cus_own"), "state": rows.one_of(*WebhookState)}
        event |= {"attempts": 1, "replays": 0, "occurred_at": BEGAN, "received_at": rows.at()}
        rows.insert("webhook_events", event)


def _comparisons(rows: Rows) -> None:
    for n in range(12):
        found = [
            {
                "account_id": rows.one_of("acc_1", "acc_2"),
                "what": rows.one_of("invoice", "subscription"),
                "provider_id": f"in_{m}",
                "theirs": "paid",
                "ours": "open",
                "healed": rows.one_of(True, False),
            }
            for m in range(13 if n == 11 else n % 3)
        ]
        comparison = {"began_at": BEGAN + timedelta(hours=n), "finished_at": BEGAN}
        comparison |= {"dry_run": rows.one_of(True, False), "differences": len(found), "healed": 0}
        rows.insert("reconciliations", comparison | {"found": found})


def _audit(rows: Rows) -> None:
    for _ in range(26):
        entry = {"at": rows.at(), "actor_id": rows.one_of(*USERS[1:]), "actor_name": "Ada"}
        entry |= {"role": "admin", "action": rows.one_of(Action.GRANT, Action.BLOCK, Action.UNDO)}
        entry |= {
            "account_id": rows.one_of(None, rows.account),
            "subject": "",
            "reason": "Because",
        }
        rows.insert("audit_entries", entry | {"before": {}, "after": {}})


def _near_limit(rows: Rows) -> None:
    for _ in range(10):
        number = organization(rows.url).account_number
        near = {"account_id": number, "executions": rows.one_of(50, 60), "held": 0}
        rows.insert("accounts_near_limit", near | {"used": rows.one_of(45, 46)})


def add_jobs(rows: Rows) -> None:
    """In the tables of DBOS, which a worker makes."""
    for n in range(19):
        at = int(rows.at().timestamp() * 1000)
        job = {"workflow_uuid": f"job {n:02}", "status": rows.one_of(*STATUSES), "name": "sync"}
        job |= {"created_at": at, "updated_at": at, "recovery_attempts": 1}
        application = rows.one_of(None, "billing")
        rows.insert("dbos.workflow_status", job | {"application_name": application})
    job = {"workflow_uuid": "of another", "status": "SUCCESS", "application_name": "other"}
    rows.insert("dbos.workflow_status", job | {"created_at": 1, "updated_at": 1})


def _number(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def account_names(url: str, query: str) -> set[str]:
    return {ids.encode_account(int(name)) for name in names(url, query)}


def names(url: str, query: str) -> set[str]:
    """What a statement selects, as text."""
    with connect(url) as connection:
        return {str(row[0]) for row in connection.execute(query).fetchall()}  # pyright: ignore[reportArgumentType, reportCallIssue]
