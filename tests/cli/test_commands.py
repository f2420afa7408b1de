"""The command line as an operator uses it."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day

import httpx
import psycopg
import pytest

from billing_app import __version__
from billing_app.db.engine import Database
from billing_app.jobs.liveness import STALE_AFTER, is_worker_alive
from tests.conftest import server_environment
from tests.databases import create_database
from tests.processes import (
    api_process,
    free_port,
    run_command,
    start_command,
    wait_until_ready,
)

ALIVE_SECONDS = 30.0


@pytest.fixture
def environment(own_database_url: str) -> dict[str, str]:
    return server_environment(own_database_url)


def test_version_needs_no_settings() -> None:
    ended = run_command({}, "--version")
    assert (ended.returncode, ended.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize(
    ("command", "name"), [("api", "TRIAL_PLAN_EXECUTIONS"), ("serve", "PUBLIC_ORG_ID")]
)
def test_missing_setting_stops_the_start_with_one_line(
    environment: dict[str, str], command: str, name: str
) -> None:
    del environment[name]
    ended = run_command(environment, command)
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert name in ended.stderr


def test_malformed_setting_is_named(environment: dict[str, str]) -> None:
    ended = run_command(environment | {"TRIAL_PLAN_EXECUTIONS": "many"}, "verify")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "TRIAL_PLAN_EXECUTIONS" in ended.stderr


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"SMTP_HOST": "mail.example.com"}, "MAIL_FROM"),
        ({"MAIL_FROM": "nobody"}, "MAIL_FROM"),
        ({"MAIL_FROM": "a@b.cd\nBcc: e@f.gh"}, "MAIL_FROM"),
        ({"MAIL_FROM": "Billing, Inc <billing@example.com>"}, "MAIL_FROM"),
        ({"MAIL_FROM": "Acme: Billing <billing@example.com>"}, "MAIL_FROM"),
        ({"MAIL_FROM": "a,b@c.com"}, "MAIL_FROM"),
        ({"SMTP_USERNAME": "somebody"}, "SMTP_PASSWORD"),
        ({"SMTP_PASSWORD": "secret"}, "SMTP_PASSWORD"),
        ({"SMTP_SECURITY": "some"}, "SMTP_SECURITY"),
        ({"SMTP_PORT": "0"}, "SMTP_PORT"),
        ({"PUBLIC_ORG_ID": "a\nb"}, "PUBLIC_ORG_ID"),
        ({"PUBLIC_ORG_ID": " "}, "PUBLIC_ORG_ID"),
        ({"EVENT_RETENTION_MONTHS": "1"}, "EVENT_RETENTION_MONTHS"),
        ({"DAILY_RETENTION_MONTHS": "24"}, "DAILY_RETENTION_MONTHS"),
        ({"PUBLIC_ORG_ID": "public "}, "PUBLIC_ORG_ID"),
        ({"DATABASE_URL": "postgresql://u:secret@[::1/x"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u:secret@h/x?foo=bar"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u:secret@h/x%00y"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u:secret@h/%ff"}, "DATABASE_URL"),
        ({"DATABASE_URL": "sqlite:///x"}, "DATABASE_URL"),
    ],
)
def test_invalid_settings_stop_the_start(
    environment: dict[str, str], given: dict[str, str], name: str
) -> None:
    ended = run_command(environment | given, "verify")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert ended.stderr.startswith(f"{name} is not valid: ")
    assert "secret" not in ended.stderr


def test_empty_setting_counts_as_not_set(environment: dict[str, str]) -> None:
    empty = dict.fromkeys(("SMTP_HOST", "SMTP_PORT", "SMTP_USERNAME", "MAIL_DIRECTORY"), "")
    code = "from billing_app.composition import get_services; print(get_services().mailer)"
    told = {"MAIL_FROM": '"Billing, Inc" <billing@example.com>'}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | empty | told,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "None\n"


def test_outdated_database_is_refused_with_the_fix(
    server_url: str,
) -> None:
    environment = server_environment(create_database(server_url, "behind"))
    for command in ("api", "serve", "worker"):
        ended = run_command(environment, command)
        assert ended.returncode == 2
        assert "python -m billing_app migrate" in ended.stderr
    assert run_command(environment, "migrate").returncode == 0
    assert run_command(environment, "verify").returncode == 0


def test_unreachable_database_is_one_line(environment: dict[str, str]) -> None:
    away = {"DATABASE_URL": "postgresql://somebody:secret@127.0.0.1:1/billing"}
    for command in ("api", "migrate"):
        ended = run_command(environment | away, command)
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
        assert "database does not respond" in ended.stderr
        assert "secret" not in ended.stderr


def test_ids_and_keys_are_printed_alone(environment: dict[str, str]) -> None:
    made = run_command(environment, "accounts", "create-organization", "Acme", "--executions", "7")
    assert re.fullmatch(r"org_\w+\n", made.stdout)
    organization = made.stdout.strip()
    arguments = ("keys", "create", "--name", "n", "--scope", "executions")
    for owner in (("--organization", organization), ("--platform",)):
        key = run_command(environment, *arguments, *owner)
        assert re.fullmatch(r"bil_[\w-]+\n", key.stdout)
    assert run_command(environment, *arguments).returncode != 0
    unknown = run_command(environment, *arguments, "--organization", "org_nobody")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert key.stdout.strip() not in run_command(environment, "keys", "list").stdout


@pytest.mark.parametrize("name", ["", "  ", "n" * 256, "a\x01b", "a\nb"])
def test_invalid_name_is_one_line(environment: dict[str, str], name: str) -> None:
    made = run_command(environment, "accounts", "create-organization", "A", "--executions", "1")
    organization = made.stdout.strip()
    for arguments in (
        ("accounts", "create-organization", name, "--executions", "1"),
        ("accounts", "add-plan", organization, "--executions", "1", "--name", name),
        ("keys", "create", "--scope", "executions", "--platform", "--name", name),
    ):
        ended = run_command(environment, *arguments)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
        assert ended.stderr.startswith("A name ")


def test_unknown_key_number_is_refused(environment: dict[str, str]) -> None:
    for number in ("0", str(2**63), "1" * 30):
        ended = run_command(environment, "keys", "revoke", number)
        assert ended.returncode == 2
        assert "Traceback" not in ended.stderr


def test_revoked_key_is_refused(environment: dict[str, str]) -> None:
    key = run_command(
        environment, "keys", "create", "--name", "n", "--scope", "executions", "--platform"
    ).stdout.strip()
    number = run_command(environment, "keys", "list").stdout.split()[0]
    assert run_command(environment, "keys", "revoke", number).returncode == 0
    assert run_command(environment, "keys", "revoke", number).returncode != 0
    with api_process(environment) as base_url:
        answer = httpx.post(
            f"{base_url}/billing/plans/check-executions",
            json={"organization_id": "any"},
            headers={"Authorization": f"Bearer {key}"},
        )
    assert answer.status_code == 401


def test_verify_lists_differences(environment: dict[str, str], own_database_url: str) -> None:
    run_command(environment, "accounts", "create-organization", "Acme", "--executions", "7")
    assert run_command(environment, "verify").returncode == 0
    with psycopg.connect(own_database_url) as connection:
        connection.execute("UPDATE plans SET used = 3")
    ended = run_command(environment, "verify")
    assert ended.returncode == 1
    assert "plan used, plan 1: expected 0, found 3" in ended.stdout


def test_demo_data_is_seeded_once_and_matches_its_ledger(environment: dict[str, str]) -> None:
    first = run_command(environment, "seed", "--demo")
    assert first.returncode == 0, first.stderr
    assert "ada@example.com" in first.stdout
    again = run_command(environment, "seed", "--demo")
    assert again.returncode == 0
    assert run_command(environment, "verify").returncode == 0


def test_demo_refuses_a_database_in_use(environment: dict[str, str], own_database_url: str) -> None:
    """The demo's password is public."""
    with psycopg.connect(own_database_url) as connection:
        connection.execute(
            "INSERT INTO users (id, email, name, password_hash, created_at)"
            " VALUES ('usr_real', 'real@example.com', 'Real', 'hash', now())"
        )
    ended = run_command(environment, "seed", "--demo")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "people use this database" in ended.stderr
    with psycopg.connect(own_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)


def test_demo_refuses_a_live_stripe_key(environment: dict[str, str]) -> None:
    for key in ("sk_live_secret123", "rk_live_secret123"):
        ended = run_command(environment | {"STRIPE_SECRET_KEY": key}, "demo", "--api-only")
        assert ended.returncode == 2
        assert "secret123" not in ended.stdout + ended.stderr


def test_several_workers_share_ledger_and_metrics(environment: dict[str, str]) -> None:
    organization = run_command(
        environment, "accounts", "create-organization", "Acme", "--executions", "50"
    ).stdout.strip()
    key = run_command(
        environment, "keys", "create", "--name", "n", "--scope", "executions", "--platform"
    ).stdout.strip()
    with api_process(environment, workers=3) as base_url:
        statuses = [_consume(base_url, key, organization, number) for number in range(60)]
        metrics = httpx.get(f"{base_url}/metrics").text
    assert (statuses.count(200), statuses.count(402)) == (50, 10)
    batches = re.findall(r'batch_requests_sum\{lane="write"\} ([\d.]+)', metrics)
    assert sum(map(float, batches)) == 60


def test_killed_server_frees_its_port(environment: dict[str, str]) -> None:
    port = free_port()
    arguments = ("api", "--port", str(port), "--workers", "2")
    for _ in range(2):
        process = start_command(environment, *arguments)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process)
        finally:
            process.kill()
            process.wait()


def _consume(base_url: str, key: str, organization: str, number: int) -> int:
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"k{number}"}
    body = {"organization_id": organization, "mode": "consume"}
    address = f"{base_url}/billing/plans/check-executions"
    return httpx.post(address, json=body, headers=headers).status_code


async def test_worker_runs_until_stopped(
    environment: dict[str, str], own_database_url: str
) -> None:
    database = Database(own_database_url)
    assert not await is_worker_alive(database, datetime.now(UTC))
    process = start_command(environment, "worker")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any("worker_started" in line for line in lines)
    deadline = time.monotonic() + ALIVE_SECONDS
    while not await is_worker_alive(database, datetime.now(UTC)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert not await is_worker_alive(database, datetime.now(UTC) + STALE_AFTER)
    await database.dispose()


def test_key_expires_after_its_last_day(environment: dict[str, str]) -> None:
    options = ("keys", "create", "--platform", "--scope", "executions", "--name", "k")
    today = datetime.now(UTC).date()
    late = run_command(environment, *options, "--expires", str(today - timedelta(days=1)))
    assert (late.returncode, late.stdout) == (2, "")
    assert "already" in late.stderr
    for day in (today, today + timedelta(days=90)):
        assert run_command(environment, *options, "--expires", str(day)).returncode == 0
    assert run_command(environment, *options).returncode == 0
    listed = run_command(environment, "keys", "list").stdout.splitlines()
    assert [line.split("platform")[1].strip() for line in listed] == [
        "active",
        f"active through {today + timedelta(days=90)}",
        f"active through {today}",
    ]
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT min(expires_at) FROM api_keys").fetchone()
    assert row is not None
    assert row[0] == datetime.combine(today, time_of_day(), UTC) + timedelta(days=1)
