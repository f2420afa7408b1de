"""The pages about the client: their code runs as printed, and prints what they say."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.api.server import ApiServer
from tests.client.installed import ROOT
from tests.client.test_retries import used
from tests.factories import Holder, connect

TUTORIAL = ROOT / "docs" / "tutorial" / "python-service.md"
GUIDE = ROOT / "docs" / "how-to" / "python-client.md"
LEASES = ROOT / "docs" / "how-to" / "leases.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
# What the fixtures do in their place.
DONE_BY_FIXTURES = {"make run\n": "server", "make client\n": "client_python"}
ADDRESS = "http://localhost:3000"


def test_tutorial_prints_what_it_says(
    server: ApiServer, client_python: Path, client_database_url: str, tmp_path: Path
) -> None:
    environment = dict(server.environment)
    printed = ""
    compared = 0
    for kind, code in BLOCK.findall(TUTORIAL.read_text()):
        if kind == "python":
            (tmp_path / code.partition("\n")[0].removeprefix("# ")).write_text(code)
        elif kind == "text":
            assert [line.rstrip() for line in printed.splitlines()] == code.splitlines()
            compared += 1
        elif code.startswith("export "):
            environment |= exported(code.replace(ADDRESS, server.url), environment)
        elif not code.startswith(tuple(DONE_BY_FIXTURES)):
            command = code.split()
            assert command[0] == ".venv/bin/python"
            printed = run(client_python, tmp_path, environment, *command[1:])
    assert compared == 3
    assert books(client_database_url, environment["BILLING_ORGANIZATION"]) == (5, 20)


def test_guide_runs(
    server: ApiServer,
    client_python: Path,
    key: str,
    holder: Holder,
    client_database_url: str,
    tmp_path: Path,
) -> None:
    blocks = [code for kind, code in BLOCK.findall(GUIDE.read_text()) if kind == "python"]
    end = "import asyncio\nasyncio.run(work())\nassert patient.offers().items == []\n"
    (tmp_path / "guide.py").write_text("\n".join([*blocks, end]))
    environment = {
        "BILLING_URL": server.url,
        "BILLING_KEY": key,
        "BILLING_ORGANIZATION": holder.organization_id,
        "PRODUCT_KEY": key,
        "RETURN_URL": "https://product.test/settings",
    }
    lines = run(client_python, tmp_path, environment, "guide.py").splitlines()
    assert [line.partition(" ")[0] for line in lines[:3]] == ["counted"] * 3
    assert used(client_database_url, holder) == (7 + 1 + 1 + 3 + 1, 0)


def test_guide_of_leases_runs(
    server: ApiServer,
    client_python: Path,
    key: str,
    holder: Holder,
    client_database_url: str,
    tmp_path: Path,
) -> None:
    blocks = [code for kind, code in BLOCK.findall(LEASES.read_text()) if kind == "python"]
    (tmp_path / "guide.py").write_text("\n".join(blocks))
    environment = {
        "BILLING_URL": server.url,
        "BILLING_KEY": key,
        "BILLING_ORGANIZATION": holder.organization_id,
        "BILLING_JOURNAL": str(tmp_path / "journal"),
    }
    run(client_python, tmp_path, environment, "guide.py")
    assert used(client_database_url, holder) == (3, 0)


def test_readme_example_compiles() -> None:
    readme = (ROOT / "billing_app" / "client" / "README.md").read_text()
    ((_, code),) = BLOCK.findall(readme)
    compile(code, "README.md", "exec")


def test_guide_names_every_error() -> None:
    from billing_app.client import BillingError, errors

    named = set(re.findall(r"`(\w+Error)", GUIDE.read_text()))
    known = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, BillingError)
    }
    abstract = {"ProblemError"}
    assert named - {"BillingError"} == known - {"BillingError"} - abstract


def exported(code: str, environment: dict[str, str]) -> dict[str, str]:
    """What the lines put into the environment of a shell in the project's folder."""
    done = subprocess.run(
        ["sh", "-c", f"set -e\n{code}\nenv"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pairs = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return {name: value for name, value in pairs.items() if name.startswith("BILLING_")}


def run(python: Path, directory: Path, environment: dict[str, str], *arguments: str) -> str:
    names = {"BILLING_URL", "BILLING_KEY", "BILLING_ORGANIZATION", "PRODUCT_KEY", "RETURN_URL"}
    names |= {"BILLING_JOURNAL"} & environment.keys()
    done = subprocess.run(
        [python, *arguments],
        cwd=directory,
        env={name: environment[name] for name in names & environment.keys()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def books(url: str, organization_id: str) -> tuple[int, int]:
    """Events and executions of an organization."""
    with connect(url) as connection:
        row = connection.execute(
            "SELECT count(*), sum(e.executions) FROM execution_events AS e"
            " JOIN accounts AS a ON a.id = e.account_id WHERE a.organization_id = %s",
            [organization_id],
        ).fetchone()
    assert row is not None
    return row[0], int(row[1])


@pytest.mark.parametrize("page", [TUTORIAL, GUIDE], ids=["tutorial", "guide"])
def test_pages_name_only_methods_that_exist(page: Path) -> None:
    from billing_app.client import Billing

    called = set(re.findall(r"\bbilling\.(\w+)\(", page.read_text()))
    assert [name for name in called if not hasattr(Billing, name)] == []
