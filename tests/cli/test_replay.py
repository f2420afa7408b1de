"""A real trace through a real server: 8,819 rows against plans of 5,000 and 3,000."""

import csv
import re
import signal
import time
from pathlib import Path

import httpx
import pandas as pd
import psycopg
import pytest

from billing_app.replay import read_rows
from tests.conftest import server_environment
from tests.processes import api_process, run_command, start_command

TRACE = Path(__file__).parent.parent / "data" / "azure_llm_inference_2023_code.csv"
ROWS = 8819
COUNTS = re.compile(r"accepted (\d+)  denied (\d+)  replayed (\d+)")


@pytest.mark.timeout(1200)
def test_replayed_trace_is_counted_exactly_once(own_database_url: str) -> None:
    environment = server_environment(own_database_url)
    organization = run_command(
        environment, "accounts", "create-organization", "Trace", "--executions", "5000"
    ).stdout.strip()
    run_command(environment, "accounts", "add-plan", organization, "--executions", "3000")
    key = run_command(
        environment, "keys", "create", "--name", "replay", "--scope", "executions", "--platform"
    ).stdout.strip()
    with api_process(environment, workers=2) as base_url:
        arguments = _arguments(organization, base_url, key)
        interrupted = _stop_early(environment, arguments, own_database_url)
        assert 0 < interrupted < 8000

        accepted, denied, replayed = _replay(environment, arguments)
        assert (accepted + replayed, denied) == (8000, ROWS - 8000)
        assert replayed >= interrupted
        before = _ledger(own_database_url)
        assert (before["executions"].sum(), len(before)) == (8000, 8000)

        assert _replay(environment, arguments) == (0, ROWS - 8000, 8000)
        pd.testing.assert_frame_equal(_ledger(own_database_url), before)
        _check_usage(base_url, key, organization)
    assert run_command(environment, "verify").returncode == 0


@pytest.fixture
def odd_file(tmp_path: Path) -> Path:
    """A trace of three rows without times and with a non-ASCII name."""
    file = tmp_path / "läufe 1.csv"
    file.write_text("a,b\n1,2\n3,4\n5,6\n")
    return file


def test_replay_refuses_unusable_files_and_addresses(own_database_url: str, odd_file: Path) -> None:
    environment = server_environment(own_database_url)
    organization = run_command(
        environment, "accounts", "create-organization", "Odd", "--executions", "2"
    ).stdout.strip()
    key = run_command(
        environment, "keys", "create", "--name", "n", "--scope", "executions", "--platform"
    ).stdout.strip()
    with api_process(environment) as base_url:
        arguments = ("--organization", organization, "--base-url", base_url, "--key", key)
        done = run_command(environment, "replay", str(odd_file), *arguments)
        assert "accepted 2  denied 1  replayed 0" in done.stdout
    odd_file.write_bytes(b"\xff\xfe\x00")
    for arguments, word in (
        ((str(odd_file), "--base-url", base_url), "CSV"),
        ((str(odd_file.parent), "--base-url", base_url), "directory"),
        ((str(TRACE), "--base-url", "localhost:3000"), "http://"),
        ((str(TRACE), "--base-url", "http://"), "http://"),
        ((str(TRACE), "--base-url", "http://[::1"), "base URL"),
        ((str(TRACE), "--base-url", "http://127.0.0.1:99999"), "base URL"),
        ((str(TRACE), "--base-url", base_url, "--key", ""), "keys create"),
        ((str(TRACE), "--base-url", base_url, "--key", "é"), "keys create"),
    ):
        refused = run_command(
            environment, "replay", "--organization", organization, "--key", key, *arguments
        )
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert word in refused.stderr


def test_replay_reads_common_time_formats(tmp_path: Path) -> None:
    file = tmp_path / "times.csv"
    times = (
        "2023-11-16 18:15:46+00:00",
        "2023-11-16 18:15:46.680590+00:00",
        "2023-11-16 18:15:47",
        "2023-11-16 18:15:48.5000000",
        "2023-11-16 20:15:49.25+02:00",
        "2023-11-16T18:15:50Z",
    )
    file.write_text("\n".join(["TIMESTAMP", *times]), encoding="utf-8-sig")
    rows = read_rows(file)
    assert [round(row.after_seconds, 6) for row in rows] == [0, 0.68059, 1, 2.5, 3.25, 4]


def _check_usage(base_url: str, key: str, organization: str) -> None:
    with httpx.Client(base_url=base_url, headers={"Authorization": f"Bearer {key}"}) as client:
        query = {"organization_id": organization}
        usage = client.get("/billing/usage", params=query).json()
        assert usage["totals"]["net"] == 8000
        current = client.get("/billing/plans/current", params=query).json()
        assert current["executions_remaining"] == 0
        history = client.get("/billing/plans/history", params=query).json()["items"]
        assert [(plan["used"], plan["ended_because"]) for plan in history] == [
            (3000, "depleted"),
            (5000, "depleted"),
        ]
        assert history[0]["began_because"] == "previous_depleted"
        export = client.get("/billing/usage/export.csv", params=query, timeout=60).text
    rows = list(csv.DictReader(export.splitlines()))
    assert sum(int(row["executions"]) for row in rows) == 8000


def _arguments(organization: str, base_url: str, key: str) -> tuple[str, ...]:
    return (
        *("replay", str(TRACE), "--organization", organization),
        *("--base-url", base_url, "--key", key, "--concurrency", "64"),
    )


def _stop_early(environment: dict[str, str], arguments: tuple[str, ...], url: str) -> int:
    """Interrupt a replay; returns how many executions were counted by then."""
    process = start_command(environment, *arguments)
    counted = 0
    while counted < 300 and process.poll() is None:
        time.sleep(0.05)
        counted = len(_ledger(url))
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert COUNTS.search(output), output
    return len(_ledger(url))


def _replay(environment: dict[str, str], arguments: tuple[str, ...]) -> tuple[int, int, int]:
    done = run_command(environment, *arguments, timeout_seconds=500)
    assert done.returncode == 0, done.stderr
    match = COUNTS.search(done.stdout)
    assert match is not None, done.stdout
    return int(match[1]), int(match[2]), int(match[3])


def _ledger(url: str) -> pd.DataFrame:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT number, plan_sequence, executions, idempotency_key FROM execution_events"
            " ORDER BY number, plan_sequence"
        ).fetchall()
    return pd.DataFrame(rows, columns=["number", "plan_sequence", "executions", "key"])
