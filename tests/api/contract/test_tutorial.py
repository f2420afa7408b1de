"""The tutorial's code works as it is printed, and prints what the tutorial says."""

import re
import subprocess
import sys
from pathlib import Path

import httpx

from billing_app.db.enums import Scope
from tests.api.server import ApiServer
from tests.factories import api_key, organization

TUTORIAL = Path(__file__).parents[3] / "docs" / "tutorial" / "first-execution.md"
BLOCK = re.compile(r"```python\n# (\w+\.py)\n(.*?)```", re.DOTALL)


def test_tutorial_code_prints_what_it_says(
    server: ApiServer, anyone: httpx.Client, api_database_url: str, tmp_path: Path
) -> None:
    holder = organization(api_database_url, 20)
    environment = {
        "BILLING_URL": str(anyone.base_url),
        "BILLING_ORGANIZATION": holder.organization_id,
        "BILLING_KEY": api_key(api_database_url, Scope.EXECUTIONS),
    }
    for name, code in BLOCK.findall(TUTORIAL.read_text()):
        (tmp_path / name).write_text(code)
    printed = "".join(_run(tmp_path / name, environment) for name in ("count.py", "reserve.py"))
    assert re.fullmatch(r"event evt_\w+ remaining 19\nreleased 3 remaining 12\n", printed)
    lines = _run(tmp_path / "denied.py", environment).splitlines()
    assert lines[0] == "insufficient_executions left: 12"
    assert lines[1].startswith("upgrade at http")
    assert lines[2:] == ["reservation_expired", "remaining 7"]


def _run(script: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
