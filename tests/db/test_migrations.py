"""The schema: there and back, what it refuses, and how it is keyed."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from psycopg import errors

from billing_app.billing.plans.trial_uses import hash_of, person_of
from billing_app.db import migrations
from billing_app.db.enums import TrialUseKind
from billing_app.db.migrations import DatabaseBehindError
from billing_app.db.tables import Plan
from tests.api.server import ApiServer
from tests.conftest import server_environment
from tests.databases import create_database
from tests.factories import connect, organization

MakeDatabase = Callable[[], str]
# From what the provider names to whose it is: asked once a webhook, never by the hot path.
# The audit log also tells of what is no account's; staff type words and look for accounts.
# A view is a session's. Accounts near their limit are a copy that staff sort. A link is
# found by its token, free offers by when they refill, a person's trial among those of all accounts.
# A person's alerts are those of all their accounts, and rules are read that changed since then.
LOOK_UPS = [
    "ix_account_profiles_refills_at",
    "ix_accounts_near_limit_executions",
    "ix_accounts_near_limit_left",
    "ix_alert_deliveries_created_at",
    "ix_alert_deliveries_user_id",
    "ix_alert_rules_updated_at",
    "ix_audit_entries_action",
    "ix_audit_entries_actor_id",
    "ix_audit_entries_at",
    "ix_email_changes_expires_at",
    "ix_invoices_number",
    "ix_invoices_provider_id",
    "ix_mirrored_invoices_payment_ids",
    "ix_notices_created_at",
    "ix_notices_unsent",
    "ix_portal_links_expires_at",
    "ix_search_words_word",
    "ix_subscriptions_provider_id",
    "pk_audit_entries",
    "pk_email_changes",
    "pk_portal_links",
    "pk_portal_sessions",
    "pk_staff_views",
    "pk_trial_uses",
    "uq_audit_entries_request_key",
    "uq_audit_entries_undoes",
    "uq_email_changes_token_hash",
    "uq_email_changes_user_id",
    "uq_provider_customers_customer_id",
]
ADVICE = "python -m billing_app migrate"


@pytest.fixture
def empty_database_url(server_url: str, request: pytest.FixtureRequest) -> str:
    return create_database(server_url, f"empty_{abs(hash(request.node.name)) % 10**8}")


@pytest.fixture
def ledger(own_database_url: str) -> Any:
    """A connection to a database with one event of 3 of 10 executions."""
    holder = organization(own_database_url, 10)
    with connect(own_database_url) as connection:
        connection.execute(
            "INSERT INTO execution_events (account_id, number, plan_sequence, kind, executions,"
            " plan_used_after, remaining_after, workflow, user_id, idempotency_key, reason,"
            " occurred_at) VALUES (%s, 1, 1, 'consume', 3, 3, 7, '', '', '', '', now())",
            [holder.account_number],
        )
        yield connection


def tables_of(url: str) -> set[str]:
    with connect(url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p', 'v', 'S', 'm')"
        ).fetchall()
    return {row[0] for row in rows}


def functions_of(url: str) -> list[Any]:
    with connect(url) as connection:
        return connection.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        ).fetchall()


def test_up_down_and_up_again(empty_database_url: str) -> None:
    url, configuration = empty_database_url, migrations.alembic_config(empty_database_url)
    migrations.upgrade(url)
    migrations.require_current(url)
    first = tables_of(url)
    assert Plan.__tablename__ in first
    command.check(configuration)
    command.downgrade(configuration, "base")
    assert tables_of(url) == {"alembic_version"}
    assert functions_of(url) == []
    migrations.upgrade(url)
    assert tables_of(url) == first
    command.check(configuration)


def test_each_migration_can_be_taken_back(empty_database_url: str) -> None:
    configuration = migrations.alembic_config(empty_database_url)
    command.upgrade(configuration, "head")
    command.downgrade(configuration, "-1")
    with pytest.raises(DatabaseBehindError, match=ADVICE):
        migrations.require_current(empty_database_url)
    command.upgrade(configuration, "head")
    migrations.require_current(empty_database_url)


def test_addresses_that_had_a_trial_are_remembered(empty_database_url: str) -> None:
    """Migration 0024 says in SQL what `person_of` says."""
    emails = ["Ada+1@Example.com", "A.D.A+x@googlemail.com", "+b@example.com", "ada@example.com"]
    configuration = migrations.alembic_config(empty_database_url)
    command.upgrade(configuration, "0022")
    with connect(empty_database_url) as connection:
        connection.execute("INSERT INTO organizations VALUES ('public', 'Public', now())")
        for number, email in enumerate(emails):
            connection.execute(
                "INSERT INTO users (id, name, email, password_hash, created_at)"
                " VALUES (%s, '', %s, 'x', now())",
                [f"u{number}", email],
            )
            connection.execute(
                "INSERT INTO accounts (id, kind, organization_id, user_id, created_at)"
                " VALUES (%s, 'user', 'public', %s, now())",
                [number, f"u{number}"],
            )
            connection.execute(
                "INSERT INTO plans (account_id, sequence, type, name, source, executions, used,"
                " held, starts_at, created_at)"
                " VALUES (%s, 1, 'trial', 'Trial', 'trial', 1, 0, 0, now(), now())",
                [number],
            )
    command.upgrade(configuration, "head")
    with connect(empty_database_url) as connection:
        rows = connection.execute("SELECT kind, hash, account_id FROM trial_uses").fetchall()
    wanted = [("email", hash_of(TrialUseKind.EMAIL, person_of(each))) for each in emails[:3]]
    assert sorted(rows) == sorted((*each, place) for place, each in enumerate(wanted))


def test_last_release_goes_on_with_the_next_schema(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url)
    with connect(empty_database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    migrations.require_current(empty_database_url)


def test_revisions_are_numbers_in_order() -> None:
    script = ScriptDirectory.from_config(migrations.alembic_config(""))
    revisions = [each.revision for each in script.walk_revisions()]
    assert all(len(each) == 4 and each.isdigit() for each in revisions)
    assert revisions == sorted(revisions, reverse=True)


def test_empty_database_is_behind(empty_database_url: str) -> None:
    with pytest.raises(DatabaseBehindError, match=ADVICE):
        migrations.require_current(empty_database_url)


def test_api_refuses_an_outdated_database(empty_database_url: str) -> None:
    server = ApiServer(empty_database_url)
    try:
        with pytest.raises(AssertionError, match=ADVICE):
            server.start()
        assert not server.is_running()
    finally:
        server.stop()


@pytest.mark.parametrize("arguments", [["api", "--port", "1"], ["verify"], ["worker"]])
def test_command_line_refuses_an_outdated_database(
    empty_database_url: str, arguments: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "billing_app", *arguments],
        env=server_environment(empty_database_url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    (line,) = done.stderr.strip().splitlines()
    assert ADVICE in line


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE execution_events SET executions = 4",
        "DELETE FROM execution_events",
        "TRUNCATE execution_events",
        "DELETE FROM execution_events WHERE false",
        "TRUNCATE offer_versions CASCADE",
        "DELETE FROM offer_versions",
        "UPDATE offer_versions SET price_minor = 1",
    ],
)
def test_append_only_tables_refuse_changes(
    ledger: "psycopg.Connection[Any]", statement: str
) -> None:
    with pytest.raises(psycopg.IntegrityError, match="append-only"):
        ledger.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert ledger.execute("SELECT executions FROM execution_events").fetchall() == [(3,)]


@pytest.mark.parametrize(
    "change",
    [
        "used = 11",
        "held = 11",
        "used = 6, held = 5",
        "used = -1",
        "held = -1",
        "executions = -1",
        "used = 10, executions = 9",
        "ends_at = starts_at",
        "ended_at = now()",
        "ended_because = 'depleted'",
        "ended_because = 'bored', ended_at = now()",
        "type = 'free'",
        "source = 'sky'",
    ],
)
def test_plan_cannot_be_over_consumed_or_made_inconsistent(
    ledger: "psycopg.Connection[Any]", change: str
) -> None:
    with pytest.raises(errors.CheckViolation):
        ledger.execute(f"UPDATE plans SET {change}")  # pyright: ignore[reportArgumentType, reportCallIssue]  # noqa: S608


def test_plan_can_be_used_and_reserved_to_the_last_execution(
    ledger: "psycopg.Connection[Any]",
) -> None:
    ledger.execute("UPDATE plans SET used = 6, held = 4")


@pytest.mark.parametrize(
    ("kind", "executions", "refers_to"),
    [
        ("consume", 0, None),
        ("consume", -1, None),
        ("commit", -1, 1),
        ("refund", 1, 1),
        ("refund", 0, 1),
        ("refund", -1, None),
        ("adjustment", 0, None),
        ("gift", 1, None),
    ],
)
def test_event_sign_matches_its_kind(
    ledger: "psycopg.Connection[Any]", kind: str, executions: int, refers_to: int | None
) -> None:
    with pytest.raises(errors.CheckViolation):
        ledger.execute(
            "INSERT INTO execution_events (account_id, number, plan_sequence, kind, executions,"
            " plan_used_after, remaining_after, workflow, user_id, idempotency_key, reason,"
            " refers_to, occurred_at)"
            " VALUES (1, 2, 1, %s, %s, 0, 0, '', '', '', '', %s, now())",
            [kind, executions, refers_to],
        )


def test_one_trial_and_one_account_for_each(ledger: "psycopg.Connection[Any]") -> None:
    ledger.execute("UPDATE plans SET type = 'trial'")
    copy = (
        "INSERT INTO plans (account_id, sequence, type, name, source, executions, used, held,"
        " starts_at, created_at) SELECT account_id, 2, type, name, source, executions, 0, 0,"
        " starts_at, created_at FROM plans"
    )
    with pytest.raises(errors.UniqueViolation):
        ledger.execute(copy)
    with pytest.raises(errors.UniqueViolation):
        ledger.execute(
            "INSERT INTO accounts (id, kind, organization_id, created_at)"
            " SELECT id + 1, kind, organization_id, created_at FROM accounts"
        )


def test_every_key_and_index_of_an_accounts_rows_is_led_by_the_account(
    own_database_url: str,
) -> None:
    with connect(own_database_url) as connection:
        rows = connection.execute(
            "SELECT c.relname, i.relname, a.attname FROM pg_index AS x"
            " JOIN pg_class AS c ON c.oid = x.indrelid JOIN pg_class AS i ON i.oid = x.indexrelid"
            " LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]"
            " WHERE c.relnamespace = 'public'::regnamespace AND EXISTS ("
            "   SELECT FROM pg_attribute AS own WHERE own.attrelid = c.oid"
            "   AND own.attname = 'account_id' AND NOT own.attisdropped)"
        ).fetchall()
    keyed = {row[0] for row in rows}
    assert keyed >= {
        "plans",
        "execution_events",
        "reservations",
        "reservation_holds",
        "idempotency_keys",
        "daily_usage",
        "daily_denials",
    }
    assert sorted(row[1] for row in rows if row[2] != "account_id") == LOOK_UPS


def _vacuum(connection: psycopg.Connection[Any], table: str) -> None:
    """Until every page is known to be visible: an automatic ANALYZE meanwhile keeps rows back."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        connection.execute(f"VACUUM (ANALYZE) {table}")  # pyright: ignore[reportArgumentType, reportCallIssue]
        pages = "SELECT relpages <= relallvisible FROM pg_class WHERE oid = %s::regclass"
        if connection.execute(pages, [table]).fetchone() == (True,):
            return
        time.sleep(0.2)
    raise AssertionError(f"{table} has rows that are not visible to everybody")


def test_year_of_days_is_read_from_the_index_alone(own_database_url: str) -> None:
    with connect(own_database_url) as connection:
        connection.execute(
            "INSERT INTO daily_usage (account_id, day, workflow, user_id, used, refunded)"
            " SELECT account, current_date - day, 'flow', '', day, 0"
            " FROM generate_series(1, 50) AS account, generate_series(0, 364) AS day"
        )
        _vacuum(connection, "daily_usage")
        plan = connection.execute(
            "EXPLAIN (ANALYZE, COSTS OFF) SELECT day, sum(used), sum(refunded) FROM daily_usage"
            " WHERE account_id = 7 AND day > current_date - 365 GROUP BY day"
        ).fetchall()
    lines = [row[0].strip() for row in plan]
    assert any("Index Only Scan using pk_daily_usage" in line for line in lines), lines
    assert "Heap Fetches: 0" in lines
