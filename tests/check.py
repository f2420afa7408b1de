"""Everything that is quick to know about a change: `python -m tests.check [--without-tests]`.

Runs ruff, pyright, the import contract, a comparison of migrations and models, the linters of the
deploy files, pip-audit where it can, and the tests that need no database, process or browser; two
at a time, each with its seconds.
"""

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.audit import SKIPPED

ROOT: Final = Path(__file__).resolve().parent.parent
BIN: Final = Path(sys.executable).parent
AT_ONCE: Final = 2
PYTHON: Final = [sys.executable, "-m"]
TESTS: Final = "pure tests"
DEPLOY_FILES: Final = "deploy files"
CHECKS: Final = {
    "pyright": [*PYTHON, "pyright"],
    TESTS: [*PYTHON, "pytest", "tests", "--ignore=tests/benchmarks", "-m", "pure", "-x"],
    "ruff check": [*PYTHON, "ruff", "check", "."],
    "ruff format": [*PYTHON, "ruff", "format", "--check", "."],
    "import contract": [str(BIN / "lint-imports")],
    "alembic check": [*PYTHON, "tests.check", "alembic"],
    DEPLOY_FILES: [*PYTHON, "tests.deploy.lint"],
    "pip-audit": [*PYTHON, "tests.audit"],
}


def main() -> int:
    started_at = time.monotonic()
    names = [name for name in CHECKS if name != TESTS or "--without-tests" not in sys.argv]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(_run, names))
    print(f"{time.monotonic() - started_at:6.1f} s  in all")
    return max(results)


def _run(name: str) -> int:
    started_at = time.monotonic()
    result = subprocess.run(CHECKS[name], cwd=ROOT, capture_output=True, text=True, check=False)
    outcome = "" if result.returncode == 0 else "  FAILED"
    if result.stdout.startswith(SKIPPED):
        outcome = f"  {result.stdout.strip()}"
    print(f"{time.monotonic() - started_at:6.1f} s  {name}{outcome}", flush=True)
    if result.returncode or name == DEPLOY_FILES:  # which says what it had to skip
        print(result.stdout + result.stderr, end="", flush=True)
    return result.returncode


def compare_migrations_with_models() -> None:
    """Upgrade an empty database and let Alembic look for what a new migration would change."""
    from alembic import command

    from billing_app.db import migrations
    from billing_app.db.embedded import start_embedded

    with tempfile.TemporaryDirectory(prefix="billing-check-") as directory:
        Path(directory).chmod(0o755)
        url = start_embedded(Path(directory) / "postgres", {"fsync": "off"})
        migrations.upgrade(url)
        command.check(migrations.alembic_config(url))


if __name__ == "__main__":
    if "alembic" in sys.argv:
        compare_migrations_with_models()
    else:
        sys.exit(main())
