"""Imports point down only, by the contracts in pyproject.toml; and they would notice."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"


def lint(directory: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [LINT_IMPORTS, "--config", "pyproject.toml", "--no-cache"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "billing_app", tmp_path / "billing_app", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_point_down_only() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("db/enums.py", "import billing_app.billing.ids", "Layers"),
        ("billing/ids.py", "import httpx", "no web"),
        ("api/problems.py", "import reflex", "without Reflex"),
    ],
)
def test_upward_import_is_detected(copied: Path, module: str, line: str, contract: str) -> None:
    path = copied / "billing_app" / module
    path.write_text(f"{path.read_text()}\n{line}\n")
    done = lint(copied)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [row for row in done.stdout.splitlines() if row.endswith("BROKEN")]
    assert any(contract in row for row in broken), done.stdout


def test_api_never_loads_reflex() -> None:
    code = (
        "import sys, billing_app.api.app as app; app.create_app();"
        "print([name for name in sys.modules if name.split('.')[0] == 'reflex'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
