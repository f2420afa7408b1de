"""What staff do something to, made as it comes about: over HTTP, at the sandbox, by a worker."""

import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from dbos import DBOSClient

from billing_app import routes
from billing_app.billing import ids
from billing_app.billing.identity.sessions import hash_token
from billing_app.db.enums import Scope, StaffRole
from billing_app.jobs.reconciliation import RECONCILE_NOW
from billing_app.jobs.webhooks import APPLICATION_NAME
from tests.factories import Holder, api_key, connect, person, session_token, staff_key
from tests.pages.conftest import RunningApp

WHY: Final = "Their run failed on our side"
WORKFLOW: Final = "broken"
ADMIN_API: Final = "/billing/admin"
DRAFT: Final = {
    "name": "Team",
    "executions": 9_000,
    "price_minor": 3_950,
    "currency": "USD",
    "interval": "month",
    "reason": WHY,
}


@dataclass(frozen=True, slots=True)
class Somebody:
    """Whoever sits before a browser; `token` "" when it is signed out."""

    user_id: str
    token: str

    @property
    def cookie(self) -> str:
        return f"{routes.SESSION_COOKIE}={self.token}" if self.token else ""


def somebody(app: RunningApp, role: StaffRole | None) -> Somebody:
    """New here, of the staff when a role is given; their address is `<id>@example.com`."""
    user_id = person(app.database_url, "Robin").user_id
    if role is not None:
        query = "INSERT INTO staff_members (user_id, role, added_at) VALUES (%s, %s, now())"
        run(app, query, user_id, role)
    return Somebody(user_id, session_token(app.database_url, user_id))


def run(app: RunningApp, query: str, *values: object) -> None:
    with connect(app.database_url) as connection:
        connection.execute(query, values)  # pyright: ignore[reportArgumentType, reportCallIssue]


def rows(app: RunningApp, query: str, *values: object) -> list[tuple[Any, ...]]:
    with connect(app.database_url) as connection:
        return connection.execute(query, values).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]


def by_admin(app: RunningApp, path: str, **body: Any) -> Any:
    """What an admin's key does over HTTP."""
    headers = {"Authorization": f"Bearer {staff_key(app.database_url, StaffRole.ADMIN)}"}
    url = app.base_url + ADMIN_API + path
    answer = httpx.post(url, json={"reason": WHY, **body}, headers=headers, timeout=30)
    assert answer.is_success, answer.text
    return answer.json()


def plan_id(holder: Holder, sequence: int = 1) -> str:
    return ids.encode(ids.PLAN, holder.account_number, sequence)


def use(app: RunningApp, holder: Holder, executions: int, workflow: str = WORKFLOW) -> str:
    """A run of the organization; the id of its event."""
    answer = httpx.post(
        app.base_url + routes.CHECK_EXECUTIONS,
        headers={"Authorization": f"Bearer {app.key}", "Idempotency-Key": secrets.token_hex(8)},
        json={
            "organization_id": holder.organization_id,
            "mode": "consume",
            "executions": executions,
            "workflow": workflow,
        },
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["event_id"]


def subscribe_by_card(app: RunningApp, holder: Holder, offer: str = "starter") -> None:
    """A subscription that a card on file pays for."""
    key = api_key(
        app.database_url,
        Scope.SUBSCRIPTIONS,
        Scope.PLANS_READ,
        organization_id=holder.organization_id,
    )
    body = {"organization_id": holder.organization_id}
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=app.base_url, headers=headers, timeout=30) as client:
        portal = body | {"return_url": app.base_url + routes.OVERVIEW}
        opened = client.post("/billing/portal-sessions", json=portal)
        assert opened.is_success, opened.text
        _put_card_on_file(app, holder)
        made = client.post("/billing/subscriptions", json=body | {"offer": offer})
        assert made.status_code == 201, made.text
        assert made.json()["subscription"], made.text


def _put_card_on_file(app: RunningApp, holder: Holder) -> None:
    query = "SELECT customer_id FROM provider_customers WHERE account_id = %s"
    ((customer_id,),) = rows(app, query, holder.account_number)
    client = app.sandbox.client().v1
    method = client.payment_methods.attach("pm_card_visa", {"customer": customer_id}).id
    client.customers.update(customer_id, {"invoice_settings": {"default_payment_method": method}})


def dispute_payment(app: RunningApp, holder: Holder) -> str:
    """The bank takes back the last payment of a customer; the dispute's id."""
    query = "SELECT customer_id FROM provider_customers WHERE account_id = %s"
    ((customer_id,),) = rows(app, query, holder.account_number)
    (charge,) = app.sandbox.client().v1.charges.list({"customer": customer_id, "limit": 1}).data
    return app.sandbox.control("disputes", charge=charge.id, reason="fraudulent")["id"]


def dead_letter(app: RunningApp) -> str:
    """A webhook that was set aside, about an invoice that is not at the provider any more."""
    event_id, kind = f"evt_dead{secrets.token_hex(6)}", "invoice.paid"
    told = {"object": "invoice", "id": "in_gone", "customer": f"cus_{event_id}"}
    payload = {"id": event_id, "type": kind, "created": int(time.time()), "data": {"object": told}}
    run(
        app,
        "INSERT INTO webhook_events (id, type, object_id, customer_id, state, attempts, problem,"
        " payload, occurred_at, received_at, finished_at) VALUES (%s, %s, 'in_gone', %s, 'dead',"
        " 8, 'It broke', %s, now(), now(), now())",
        event_id,
        kind,
        told["customer"],
        json.dumps(payload),
    )
    return event_id


def stopped_job(app: RunningApp) -> str:
    """A comparison that waited in a queue of nobody and was cancelled."""
    url = app.database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    job_id = f"stopped-{secrets.token_hex(6)}"
    client = DBOSClient(system_database_url=url, application_name=APPLICATION_NAME)
    try:
        client.enqueue(
            {"queue_name": "nobody", "workflow_name": RECONCILE_NOW, "workflow_id": job_id},
            datetime.now(UTC),
            True,
        )
        client.cancel_workflow(job_id)
    finally:
        client.destroy()
    return job_id


def draft(app: RunningApp) -> str:
    """The code of an offer that nobody can buy yet, in revision 1."""
    code = f"team-{secrets.token_hex(4)}"
    by_admin(app, "/offers", code=code, **DRAFT)
    return code


def open_view(app: RunningApp, who: Somebody, holder: Holder) -> None:
    """The session looks at the account as its holder does, whoever it is."""
    ((entry,),) = rows(
        app,
        "INSERT INTO audit_entries (at, actor_id, actor_name, role, action, account_id, subject,"
        " reason, before, after) VALUES (now(), %s, 'Robin', 'support', 'view_as_customer', %s,"
        " '', %s, '{}', '{}') RETURNING id",
        who.user_id,
        holder.account_number,
        WHY,
    )
    run(
        app,
        "INSERT INTO staff_views (token_hash, account_id, entry_id, until) VALUES (%s, %s, %s, %s)",
        hash_token(who.token),
        holder.account_number,
        entry,
        datetime.now(UTC) + timedelta(minutes=10),
    )
