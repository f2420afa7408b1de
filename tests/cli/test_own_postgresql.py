"""The app on an external PostgreSQL: over TCP, with a password that needs encoding."""

from collections.abc import Iterator

import httpx
import psycopg
import pytest

from billing_app import routes
from tests.conftest import server_environment
from tests.postgres import OwnServer, own_server
from tests.processes import api_process, free_port, run_command, start_command, wait_until_ready

PASSWORD = "p@ss:w/rd%"
WRONG = "wr0ng@secret"
REFUSED = 2


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_server(PASSWORD) as started:
        yield started


@pytest.fixture(scope="module")
def environment(server: OwnServer) -> dict[str, str]:
    """The environment of an app on a database with all demo data."""
    made = server_environment(_make(server, "whole"))
    assert run_command(made, "migrate").returncode == 0
    seeded = run_command(made, "seed", "--demo")
    assert seeded.returncode == 0, seeded.stderr
    return made


def _make(server: OwnServer, name: str) -> str:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # pyright: ignore[reportArgumentType, reportCallIssue]
    return server.url(name)


def _consume_once(environment: dict[str, str], base_url: str) -> httpx.Response:
    organization = run_command(
        environment, "accounts", "create-organization", "Acme", "--executions", "7"
    ).stdout.strip()
    key = run_command(
        environment, "keys", "create", "--name", "n", "--scope", "executions", "--platform"
    ).stdout.strip()
    return httpx.post(
        base_url + routes.CHECK_EXECUTIONS,
        json={"organization_id": organization, "mode": "consume"},
        headers={"Authorization": f"Bearer {key}", "Idempotency-Key": organization},
    )


@pytest.mark.parametrize(
    ("scheme", "query"),
    [
        ("postgresql://", ""),
        ("postgres://", "?sslmode=prefer&application_name=billing"),
        ("postgresql+psycopg://", "?connect_timeout=5&channel_binding=prefer&keepalives=1"),
        ("postgresql+asyncpg://", "?target_session_attrs=read-write"),
    ],
)
def test_api_accepts_every_form_of_database_url(
    environment: dict[str, str], scheme: str, query: str
) -> None:
    url = environment["DATABASE_URL"].replace("postgresql://", scheme) + query
    with api_process(environment | {"DATABASE_URL": url}) as base_url:
        answer = _consume_once(environment, base_url)
    assert (answer.status_code, answer.json()["executions_remaining"]) == (200, 6)


def test_pages_and_worker_share_one_database(
    environment: dict[str, str], server: OwnServer
) -> None:
    """The worker keeps its tables in a separate schema of the same database."""
    from billing_app.serving import build_pages

    build_pages()
    port = free_port()
    base_url = f"http://localhost:{port}"
    process = start_command(environment | {"PUBLIC_URL": base_url}, "serve", "--port", str(port))
    worker = start_command(environment, "worker")
    try:
        assert worker.stdout is not None
        assert any("worker_started" in line for line in iter(worker.stdout.readline, ""))
        wait_until_ready(base_url, process)
        assert _consume_once(environment, base_url).status_code == 200
        assert httpx.get(base_url + routes.SIGN_IN).status_code == 200
    finally:
        for started in (process, worker):
            started.terminate()
            started.communicate(timeout=30)
    assert worker.returncode == 0
    with psycopg.connect(server.url("whole")) as connection:
        found = connection.execute("SELECT to_regclass('dbos.workflow_status')").fetchone()
    assert found == ("dbos.workflow_status",)
    assert run_command(environment, "verify").returncode == 0


def test_outdated_database_names_the_migrate_command(server: OwnServer) -> None:
    behind = server_environment(_make(server, "behind"))
    for command in (("api",), ("worker",), ("verify",), ("keys", "list")):
        ended = run_command(behind, *command)
        assert (ended.returncode, ended.stderr.count("\n")) == (REFUSED, 1)
        assert "python -m billing_app migrate" in ended.stderr


@pytest.mark.parametrize("command", ["migrate", "verify", "api", "worker"])
def test_connection_error_is_one_line_without_the_password(server: OwnServer, command: str) -> None:
    unreachable = f"postgresql://billing:{WRONG.replace('@', '%40')}@127.0.0.1:1/billing"
    for url, why in (
        (server.url(password=WRONG), "password authentication failed"),
        (server.url("nowhere"), "does not exist"),
        (unreachable, "Connection refused"),
        (unreachable.replace("127.0.0.1", "db.invalid"), "db.invalid"),
    ):
        ended = run_command(server_environment(url), command)
        assert (ended.returncode, ended.stderr.count("\n")) == (REFUSED, 1), ended.stderr
        assert ended.stderr.startswith("The database does not respond: ")
        assert why in ended.stderr
        assert not [secret for secret in (WRONG, PASSWORD, "%40") if secret in ended.stderr]


@pytest.mark.parametrize("secret", [PASSWORD, "se@cret", "se/cret", "se?cret", "se#cret", "cret%"])
def test_unencoded_password_is_refused_without_printing_it(secret: str) -> None:
    ended = run_command(
        server_environment(f"postgresql://billing:{secret}@127.0.0.1:5432/billing"), "migrate"
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (REFUSED, 1)
    assert ended.stderr.startswith("DATABASE_URL is not valid: ")
    assert "cret" not in ended.stderr
    assert secret not in ended.stderr
