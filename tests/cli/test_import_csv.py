"""`import csv` as an operator runs it: each line counts once, whatever happens."""

import subprocess
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from billing_app.billing.accounts.free_refills import refill_free_offers
from billing_app.billing.imports.csv_rows import BadRow, BalanceRow, read_rows
from billing_app.billing.offers.catalogue import OfferTerms, publish_offer
from billing_app.db.engine import Database
from billing_app.db.enums import Interval
from tests.conftest import server_environment
from tests.factories import NOW, OPERATOR, connect
from tests.payments.billing_harness import until
from tests.processes import run_command, start_command

HEADER = "external_id,name,email,executions,used,ends_at,offer,key\n"
LATER = datetime.now(UTC) + timedelta(days=20)
FREE = OfferTerms("Free", "", 50, 0, "USD", Interval.MONTH)
Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def rows(own_database_url: str) -> Rows:
    def fetch(query: str) -> list[tuple[Any, ...]]:
        with connect(own_database_url) as connection:
            return connection.execute(query).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

    return fetch


@pytest.fixture
def run(own_database_url: str) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    environment = server_environment(own_database_url)

    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        done = run_command(environment, *map(str, arguments))
        assert "Traceback" not in done.stderr
        return done

    return command


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "accounts.csv"
        path.write_text(text, encoding)
        return path

    return written


BALANCES = (
    "SELECT organization_id, executions, used, ends_at FROM plans"
    " JOIN accounts ON accounts.id = account_id ORDER BY organization_id, sequence"
)


def test_accounts_and_balances_come_once(run: Run, rows: Rows, write: Callable[..., Path]) -> None:
    day = f"{LATER:%Y-%m-%d}"
    file = write(
        f"{HEADER}acme,Acme,billing@acme.example,1000,250,{day},,\n"
        "acme,,,500,,,,bonus\n"
        "beta,,,100,100,,,\n"
        "gamma,Gamma,,,,,,\n"
    )
    told = run("import", "csv", file, "--dry-run")
    assert (told.returncode, told.stderr) == (0, "")
    assert "Would create accounts: 3\n" in told.stdout
    assert rows("SELECT count(*) FROM accounts") == [(0,)]
    done = run("import", "csv", file, "--apply")
    assert done.stdout == (
        "Created accounts: 3\nAdded balances to known accounts: 1\nImported before: 0\n"
        "Lines with problems: 0\n"
    )
    midnight = datetime(LATER.year, LATER.month, LATER.day, tzinfo=UTC) + timedelta(days=1)
    expected = [
        ("acme", 1_000, 250, midnight),
        ("acme", 500, 0, None),
        ("beta", 100, 100, None),
    ]
    assert rows(BALANCES) == expected
    assert rows("SELECT name FROM organizations ORDER BY id") == [("Acme",), ("beta",), ("Gamma",)]
    assert rows("SELECT email FROM billing_details") == [("billing@acme.example",)]
    entries = "SELECT DISTINCT actor_name, action, reason FROM audit_entries"
    assert rows(entries) == [("Command line", "add_plan", "Imported from accounts.csv")]
    assert "Imported before: 4" in run("import", "csv", file, "--apply").stdout
    assert rows(BALANCES) == expected
    assert run("verify").returncode == 0


def test_bad_lines_are_named_and_the_others_imported(
    run: Run, rows: Rows, write: Callable[..., Path]
) -> None:
    bad = [
        ("x1,,,many,,,,", "executions must be a whole number"),
        ("x2,,,10,11,,,", "x2: used is 11 of 10 executions"),
        ("x3,,,10,,2020-01-01,,", "x3: ends_at is in the past"),
        ("x4,,,10,,2099-01-01T10:00:00,,", "ends_at needs a time zone"),
        ("x5,,nobody,10,,,,", "not a valid email"),
        ("x6,,,,,,platinum,", "Offer platinum does not exist"),
        ("x7,,,10", "has 4 fields instead of 8"),
        (",,,10,,,,", "external_id is empty"),
        ("acme,,,10,,,,", "an earlier line has the same external_id, kind and key"),
        ("public,,,10,,,,", "the public organization"),
        ("org_0123456789abcdef,,,10,,,,", "must not look like generated ones"),
        ("x8,,,10,,soon,,", "ends_at must be a date"),
        ("x9,,,0,,,,", "executions must be at least 1"),
        ("x\0,,,10,,,,", "NUL"),
        ("x10,,,,5,,,", "need executions or an offer"),
        ("x11,,,9999999999999,,,,", "must be at most"),
    ]
    lines = "".join(f"{line}\n" for line, _ in bad)
    done = run("import", "csv", write(f"{HEADER}acme,,,10,,,,\n{lines}beta,,,20,,,,\n"), "--apply")
    assert (done.returncode, done.stderr) == (1, "")
    told = done.stdout.splitlines()
    for number, (_, problem) in enumerate(bad, 3):
        assert told[number - 3].startswith(f"Line {number}: ")
        assert problem in told[number - 3]
    assert f"Lines with problems: {len(bad)}" in told
    assert [row[:2] for row in rows(BALANCES)] == [("acme", 10), ("beta", 20)]
    assert rows("SELECT count(*) FROM organizations WHERE id LIKE 'x%'") == [(0,)]


def test_users_of_the_public_organization(run: Run, rows: Rows, write: Callable[..., Path]) -> None:
    """The balance is instead of a trial; an organization may have the same ID."""
    header = "external_id,kind,name,email,executions,used,key\n"
    file = write(
        f"{header}u1,user,Ada,ada@example.com,100,40,\nu1,User,,,7,,more\nu1,,Ada Inc,,5,,\n"
        "u2,user,,,,,\nu3,person,,,1,,\nusr_0123456789abcdef,user,,,1,,\n"
    )
    told = run("import", "csv", file)
    assert "Line 6: kind must be organization or user, not 'person'" in told.stdout
    assert "Line 7: usr_0123456789abcdef: No account has this ID" in told.stdout
    assert "Would create accounts: 3\n" in told.stdout
    assert rows("SELECT count(*) FROM users") == [(0,)]
    run("import", "csv", file, "--apply")
    expected = [("u1", 100, 40, "contract"), ("u1", 7, 0, "contract"), (None, 5, 0, "contract")]
    plans = (
        "SELECT user_id, executions, used, source FROM plans"
        " JOIN accounts ON accounts.id = account_id ORDER BY user_id, sequence"
    )
    assert rows(plans) == expected
    people = "SELECT users.id, name, role FROM users JOIN memberships ON user_id = users.id"
    assert rows(f"{people} ORDER BY 1") == [("u1", "Ada", "member"), ("u2", "", "member")]
    assert rows("SELECT email FROM billing_details") == [("ada@example.com",)]
    again = run("import", "csv", file, "--apply")
    assert "Created accounts: 0\nAdded balances to known accounts: 0" in again.stdout
    assert rows(plans) == expected
    assert run("verify").returncode == 0


def test_changed_line_is_not_imported_twice(
    run: Run, rows: Rows, write: Callable[..., Path]
) -> None:
    run("import", "csv", write(f"{HEADER}acme,,,10,,,,\n"), "--apply")
    done = run("import", "csv", write(f"{HEADER}acme,,,20,,,,\n"), "--apply")
    assert done.returncode == 1
    assert "Line 2: acme: was imported with other values" in done.stdout
    assert [row[1] for row in rows(BALANCES)] == [10]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_spreadsheets(
    run: Run, rows: Rows, write: Callable[..., Path], encoding: str
) -> None:
    text = 'Executions;External ID;Name\r\n10;"Größe; & Co";"two\r\nlines"\r\n20;beta;Beta\r\n'
    done = run("import", "csv", write(text, encoding), "--apply")
    assert done.returncode == 1
    assert "Line 3: A name must not contain control characters." in done.stdout
    assert [row[:2] for row in rows(BALANCES)] == [("beta", 20)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must name the columns, with external_id"),
        ("name,email\n", "must name the columns, with external_id"),
        ("external_id,prize\n", "Unknown column 'prize'"),
        ("external_id,name,Name\n", "names a column twice"),
        ('external_id\n"a"b\n', "not a valid CSV file"),
    ],
)
def test_unusable_files_are_one_line(
    run: Run, write: Callable[..., Path], text: str, problem: str
) -> None:
    done = run("import", "csv", write(text), "--apply")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert problem in done.stderr


def test_missing_and_binary_files_are_one_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    for problem in ("cannot be read", "not UTF-8"):
        done = run("import", "csv", path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert problem in done.stderr
        path.write_bytes(b"external_id\n\xff\n")


async def test_free_offer_refills_from_the_end_of_the_balance(
    run: Run, rows: Rows, write: Callable[..., Path], own_database_url: str
) -> None:
    database = Database(own_database_url)
    await publish_offer(database, OPERATOR, code="free", terms=FREE, now=NOW)
    end = LATER.isoformat(timespec="seconds")
    file = write(f"{HEADER}acme,,,,20,{end},free,\n")
    assert run("import", "csv", file, "--apply").returncode == 0
    [(_, executions, used, ends_at)] = rows(BALANCES)
    assert (executions, used, ends_at) == (50, 20, LATER.replace(microsecond=0))
    assert await refill_free_offers(database, ends_at - timedelta(hours=1)) == 1
    assert [row[1:3] for row in rows(BALANCES)] == [(50, 20), (50, 0)]
    starts = rows("SELECT starts_at FROM plans WHERE sequence = 2")
    assert starts == [(ends_at,)]
    assert "Imported before: 1" in run("import", "csv", file, "--apply").stdout
    await database.dispose()


def test_killed_import_goes_on_and_counts_once(
    own_database_url: str, run: Run, rows: Rows, write: Callable[..., Path]
) -> None:
    count = 2_000
    lines = "".join(f"org-{number},,,10,{number % 11},,,\n" for number in range(count))
    file = write(HEADER + lines)
    process = start_command(
        server_environment(own_database_url), "import", "csv", str(file), "--apply"
    )
    until(lambda: rows("SELECT count(*) FROM plans")[0][0] > 50)
    process.kill()
    process.communicate(timeout=20)
    begun = rows("SELECT count(*) FROM plans")[0][0]
    done = run("import", "csv", file, "--apply")
    assert f"Imported before: {begun:,}\n" in done.stdout
    expected = {(f"org-{number}", 10, number % 11) for number in range(count)}
    assert {row[:3] for row in rows(BALANCES)} == expected
    assert rows("SELECT count(*) FROM plans") == [(count,)]
    assert run("verify").returncode == 0


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("w") as file:
        file.write("external_id,name,executions\n")
        file.writelines(f"customer-{number},{'n' * 200},10\n" for number in range(50_000))
    tracemalloc.start()
    try:
        counted = sum(isinstance(row, BalanceRow) for row in read_rows(path))
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counted == 50_000
    assert most_bytes < 12_000_000


def test_line_numbers_count_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("external_id,executions\na,1\n\nb,x\n")
    found = list(read_rows(path))
    assert [row.line for row in found] == [2, 4]
    assert isinstance(found[1], BadRow)
