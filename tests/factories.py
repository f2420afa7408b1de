"""Rows for tests, written straight into a database; values for the pure rules."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import psycopg

from billing_app.billing import ids
from billing_app.billing.actors import OperatorActor, ServiceActor, StaffActor, UserActor
from billing_app.billing.executions.requests import DEFAULT_HOLD_SECONDS, Caller, CheckRequest, Mode
from billing_app.billing.executions.state import PlanBalance
from billing_app.billing.identity.api_keys import hash_key
from billing_app.db.enums import PlanSource, PlanType, Scope, StaffRole
from tests.conftest import PUBLIC

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
OPERATOR = OperatorActor()
PLATFORM = Caller(api_key_id=None, organization_id=None)
PLATFORM_SERVICE = ServiceActor(key_id=1, scopes=frozenset(Scope), organization_id=None)


def plan(sequence: int, executions: int, **more: Any) -> PlanBalance:
    """A paid plan that began to be valid a day before NOW and has no end."""
    values: dict[str, Any] = {
        "type": PlanType.PAID,
        "name": f"Plan {sequence}",
        "used": 0,
        "held": 0,
        "starts_at": NOW - timedelta(days=1),
        "ends_at": None,
    }
    return PlanBalance(sequence=sequence, executions=executions, **(values | more))


def check_request(mode: Mode, executions: int, key: str = "", **more: Any) -> CheckRequest:
    values: dict[str, Any] = {
        "organization_id": "org",
        "user_id": "",
        "workflow": "",
        "hold_seconds": DEFAULT_HOLD_SECONDS,
        "caller": PLATFORM,
    }
    return CheckRequest(mode=mode, executions=executions, idempotency_key=key, **(values | more))


@dataclass(frozen=True, slots=True)
class Holder:
    """An organization with its account."""

    organization_id: str
    account_number: int

    @property
    def account_id(self) -> str:
        return ids.encode_account(self.account_number)


def connect(url: str) -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(url, autocommit=True)


def organization(url: str, *executions: int) -> Holder:
    """An organization that holds one paid plan for each number, valid since yesterday."""
    holder = Holder(ids.new_id("org_"), ids.new_account_number())
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO organizations (id, name, created_at) VALUES (%s, 'Acme', now())",
            [holder.organization_id],
        )
        connection.execute(
            "INSERT INTO accounts (id, kind, organization_id, created_at)"
            " VALUES (%s, 'organization', %s, now())",
            [holder.account_number, holder.organization_id],
        )
    for sequence, count in enumerate(executions, 1):
        add_plan(url, holder, sequence, count)
    return holder


def add_plan(
    url: str,
    holder: Holder,
    sequence: int,
    executions: int,
    *,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
) -> None:
    starts_at = starts_at or datetime.now(UTC) - timedelta(days=1)
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO plans (account_id, sequence, type, name, source, executions, used, held,"
            " starts_at, ends_at, created_at) VALUES (%s, %s, %s, %s, %s, %s, 0, 0, %s, %s, now())",
            [
                holder.account_number,
                sequence,
                PlanType.PAID,
                f"Plan {sequence}",
                PlanSource.CONTRACT,
                executions,
                starts_at,
                ends_at,
            ],
        )


def end_plan(url: str, holder: Holder, sequence: int) -> None:
    """Its period is over as of now."""
    with connect(url) as connection:
        connection.execute(
            "UPDATE plans SET ends_at = now() WHERE account_id = %s AND sequence = %s",
            [holder.account_number, sequence],
        )


def public_organization(url: str) -> None:
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO organizations (id, name, created_at) VALUES (%s, 'Public', now())"
            " ON CONFLICT DO NOTHING",
            [PUBLIC],
        )


def member(url: str, organization_id: str, role: str = "member") -> str:
    """A user of the organization, known by id only; returns the id."""
    user_id = ids.new_id("usr_")
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO users (id, name, created_at) VALUES (%s, '', now())", [user_id]
        )
        connection.execute(
            "INSERT INTO memberships (organization_id, user_id, role, created_at)"
            " VALUES (%s, %s, %s, now())",
            [organization_id, user_id, role],
        )
    return user_id


def api_key(
    url: str,
    *scopes: Scope,
    organization_id: str | None = None,
    expires_at: datetime | None = None,
) -> str:
    """A key of the platform, or of an organization; returns the secret."""
    secret = "bil_" + secrets.token_urlsafe(32)
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO api_keys (name, key_hash, hint, scopes, organization_id, created_at,"
            " expires_at) VALUES ('test', %s, %s, %s, %s, now(), %s)",
            [
                hash_key(secret),
                secret[:12],
                sorted(scopes or {Scope.EXECUTIONS}),
                organization_id,
                expires_at,
            ],
        )
    return secret


def person(url: str, name: str = "Ada") -> UserActor:
    """A user with an address and a password that nobody knows."""
    user_id = ids.new_id("usr_")
    email = f"{user_id}@example.com"
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO users (id, name, email, password_hash, created_at)"
            " VALUES (%s, %s, %s, 'x', now())",
            [user_id, name, email],
        )
    return UserActor(user_id, name, email)


def staff_member(url: str, role: StaffRole) -> StaffActor:
    """Somebody of the house with a role."""
    somebody = person(url, f"Our {role}")
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO staff_members (user_id, role, added_at) VALUES (%s, %s, now())",
            [somebody.user_id, role],
        )
    return StaffActor(somebody.user_id, somebody.name, role)


def session_token(url: str, user_id: str) -> str:
    """What the cookie of a signed-in browser holds."""
    token = secrets.token_urlsafe(32)
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO sessions (token_hash, user_id, created_at, expires_at, user_agent)"
            " VALUES (%s, %s, now(), now() + interval '1 day', '')",
            [sha256(token.encode()).digest(), user_id],
        )
    return token


def portal_session(url: str, holder: Holder, person_id: str) -> None:
    """A browser that came through a portal link."""
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO portal_sessions (token_hash, account_id, person_id, person_name,"
            " person_email, role, return_url, user_agent, created_at, expires_at)"
            " VALUES (%s, %s, %s, '', '', 'owner', '', '', now(), now() + interval '1 day')",
            [secrets.token_bytes(32), holder.account_number, person_id],
        )


def staff_key(url: str, role: StaffRole) -> str:
    """A key of the platform with the scope `staff` and a role; returns the secret."""
    secret = api_key(url, Scope.STAFF)
    with connect(url) as connection:
        connection.execute(
            "UPDATE api_keys SET staff_role = %s WHERE key_hash = %s", [role, hash_key(secret)]
        )
    return secret


def trial(url: str, user_id: str, executions: int) -> Holder:
    """A trial without an end for a user who is there."""
    holder = Holder(PUBLIC, ids.new_account_number())
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO memberships (organization_id, user_id, role, created_at)"
            " VALUES (%s, %s, 'member', now()) ON CONFLICT DO NOTHING",
            [PUBLIC, user_id],
        )
        connection.execute(
            "INSERT INTO accounts (id, kind, organization_id, user_id, created_at)"
            " VALUES (%s, 'user', %s, %s, now())",
            [holder.account_number, PUBLIC, user_id],
        )
        connection.execute(
            "INSERT INTO plans (account_id, sequence, type, name, source, executions, starts_at,"
            " used, held, created_at) VALUES (%s, 1, 'trial', 'Trial', 'trial', %s,"
            " now() - interval '1 day', 0, 0, now())",
            [holder.account_number, executions],
        )
    return holder


def membership(url: str, organization_id: str, user_id: str, role: str = "member") -> None:
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO memberships (organization_id, user_id, role, created_at)"
            " VALUES (%s, %s, %s, now())",
            [organization_id, user_id, role],
        )


def counts(url: str) -> dict[str, int]:
    """Rows of every table, and the sums of all balances: what a refused request leaves alone."""
    with connect(url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1"
        ).fetchall()
        found = {
            table: _number(connection, f'SELECT count(*) FROM "{table}"')  # noqa: S608
            for (table,) in tables
        }
        for figure in ("used", "held"):
            found[f"plans.{figure}"] = _number(
                connection,
                f"SELECT coalesce(sum({figure}), 0) FROM plans",  # noqa: S608
            )
    return found


def _number(connection: "psycopg.Connection[tuple[Any, ...]]", query: str) -> int:
    row = connection.execute(query).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert row is not None
    return int(row[0])
