"""The demo: on taken ports, twice, killed, and maintained from outside."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx
import pytest

from billing_app.demo.seed import TRIAL_EMAIL
from tests.fork_server import AppProcess
from tests.processes import free_port, run_command, start_command, wait_until_ready

SETTINGS = ("DATABASE_URL", "TRIAL_PLAN_EXECUTIONS", "PUBLIC_ORG_ID", "STRIPE_SECRET_KEY")
GONE_SECONDS = 20.0
MAIL_SECONDS = 30.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No settings, and a separate data directory."""
    tmp_path.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return kept | {"DATA_DIRECTORY": str(tmp_path / "data")}


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another program uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_demo_starts_without_settings_beside_taken_ports(
    environment: dict[str, str], taken_port: int
) -> None:
    wanted = {"STRIPE_API_BASE": f"http://127.0.0.1:{taken_port}"}
    port = free_port()
    process = start_command(environment | wanted, "demo", "--api-only", "--port", str(port))
    base_url = f"http://localhost:{port}"
    try:
        wait_until_ready(base_url, process)
        sandbox = Path(environment["DATA_DIRECTORY"], "demo-sandbox").read_text()
        assert urlsplit(sandbox).port != taken_port
        assert httpx.get(sandbox).status_code < 500
        _refuse_a_second_one_on_the_same_port(environment, port)
        _share_with_a_second_one_on_another_port(environment)
        assert run_command(environment, "verify").returncode == 0
        _looks_like_a_business(environment, base_url)
        _consume(environment, base_url)
        _keeps_mail(environment, base_url)
    finally:
        process.kill()
        process.wait()
    _wait_until_gone(sandbox)
    _stop_postgres(environment)


def _refuse_a_second_one_on_the_same_port(environment: dict[str, str], port: int) -> None:
    ended = run_command(environment, "demo", "--api-only", "--port", str(port))
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert f":{port}" in ended.stderr


def _share_with_a_second_one_on_another_port(environment: dict[str, str]) -> None:
    port = free_port()
    process = start_command(environment, "demo", "--api-only", "--port", str(port))
    try:
        assert "share" in _read_until_told_the_way(process)
        assert httpx.get(f"http://localhost:{port}/healthz").status_code == 200
        _consume(environment, f"http://localhost:{port}")
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_demo_child_process_ends_silently_with_its_parent() -> None:
    command = [sys.executable, "-m", "billing_app.demo.processes", "calendar", "2026"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait()) == (b"", 0)


def _read_until_told_the_way(process: AppProcess) -> str:
    """The output up to the curl command."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "curl" in line:
            return said
    raise AssertionError("the demo ended without printing a curl command")


def _looks_like_a_business(environment: dict[str, str], base_url: str) -> None:
    """Months of weekly rhythm, trials that convert, a failed payment; and the database matches
    the Stripe sandbox."""
    compared = run_command(environment, "reconcile", "--dry-run").stdout.splitlines()
    # Events that are still being delivered are not lasting differences.
    assert [line for line in compared[:-1] if not line.startswith("event ")] == []
    assert "Differences" in compared[-1]
    arguments = ("--name", "n", "--scope", "staff", "--platform")
    key = run_command(environment, "keys", "create", *arguments).stdout.strip()
    today = datetime.now(UTC).date()
    answer = httpx.get(
        f"{base_url}/billing/admin/metrics",
        params={"from": str(today - timedelta(days=61)), "to": str(today - timedelta(days=1))},
        headers={"Authorization": f"Bearer {key}"},
    )
    assert answer.status_code == 200, answer.text
    days = answer.json()["days"]
    by_weekend: dict[bool, list[int]] = {True: [], False: []}
    for day in days:
        by_weekend[date.fromisoformat(day["day"]).weekday() >= 5].append(day["used"])
    assert min(by_weekend[False]) > 0
    assert median(by_weekend[True]) < 0.7 * median(by_weekend[False])
    assert median(by_weekend[False][-10:]) > 1.2 * median(by_weekend[False][:10])
    assert sum(day["trials_started"] for day in days) > 20
    assert sum(day["trials_converted"] for day in days) >= 4
    assert sum(sum(day["denied"].values()) for day in days) > 50
    assert answer.json()["accounts_past_due"] == 1


def _consume(environment: dict[str, str], base_url: str) -> None:
    """With a new key, created without settings."""
    made = run_command(
        environment, "keys", "create", "--name", "n", "--scope", "executions", "--platform"
    )
    answer = httpx.post(
        f"{base_url}/billing/plans/check-executions",
        json={"organization_id": "public", "user_id": "somebody", "mode": "consume"},
        headers={"Authorization": f"Bearer {made.stdout.strip()}", "Idempotency-Key": base_url},
    )
    assert answer.status_code == 200, answer.text


def _keeps_mail(environment: dict[str, str], base_url: str) -> None:
    """Mail is saved in files that only the owner can read."""
    form, headers = {"email": TRIAL_EMAIL}, {"Origin": base_url}
    answer = httpx.post(f"{base_url}/billing/password-resets", data=form, headers=headers)
    assert answer.headers["location"] == "/forgot-password?said=mailed"
    deadline = time.monotonic() + MAIL_SECONDS
    while not (kept := list(Path(environment["DATA_DIRECTORY"], "mail").glob("*.eml"))):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (mail,) = kept
    assert mail.stat().st_mode & 0o777 == 0o600
    message = message_from_bytes(mail.read_bytes(), policy=default)
    assert message["To"] == TRIAL_EMAIL
    pattern = rf"{base_url}/billing/password-resets/\S{{43}}$"
    (link,) = re.findall(pattern, mail.read_text(), re.MULTILINE)
    assert httpx.get(link).headers["location"].startswith("/reset-password?link=")


def _wait_until_gone(address: str) -> None:
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        try:
            httpx.get(address, timeout=1)
        except httpx.ConnectError:
            return
        except httpx.TransportError:
            pass  # it ended during the request
        time.sleep(0.1)
    raise AssertionError("the sandbox outlived its demo")


def _stop_postgres(environment: dict[str, str]) -> None:
    """Clean up after the killed process."""
    directory = Path(environment["DATA_DIRECTORY"], "postgres")
    postmaster = int((directory / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGINT)


def test_demo_reads_env_files(environment: dict[str, str], tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    (tmp_path / ".env").write_text("trial_plan_executions=7\nSTRIPE_SECRET_KEY=sk_live_1\n")
    program = (
        "from billing_app.settings import SettingsError, enter_demo, load_settings\n"
        "import os\n"
        "try:\n    enter_demo()\nexcept SettingsError as error:\n    print(error)\n"
        "os.environ['STRIPE_SECRET_KEY'] = ''\nenter_demo(3001)\n"
        "settings = load_settings()\n"
        "print(settings.trial_plan_executions, settings.public_url)\n"
        "print(min(settings.return_origins))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.splitlines() == [
        "STRIPE_SECRET_KEY is a live key. The demo accepts only test keys.",
        "7 http://localhost:3001",
        "http://localhost:3001",
    ]
