"""Known vulnerabilities of the pinned requirements: `python -m tests.audit`.

Says in one line why it was skipped where pip-audit or its database is missing; that is no failure.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx

REQUIREMENTS: Final = Path(__file__).resolve().parent.parent / "requirements.txt"
DATABASE: Final = "https://api.osv.dev/v1/vulns/PYSEC-2021-19"
REACH_SECONDS: Final = 3.0
AUDIT_SECONDS: Final = 120
SKIPPED: Final = "skipped: "


def main() -> int:
    reason = why_skipped()
    if reason:
        print(f"{SKIPPED}{reason}")
        return 0
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(REQUIREMENTS)]
    options = ["--no-deps", "--disable-pip", "--vulnerability-service", "osv"]
    return subprocess.run([*command, *options], check=False, timeout=AUDIT_SECONDS).returncode


def why_skipped() -> str:
    """Empty when it can run."""
    if find_spec("pip_audit") is None:
        return "pip-audit is not installed"
    try:
        httpx.get(DATABASE, timeout=REACH_SECONDS)
    except httpx.HTTPError as error:
        return f"the vulnerability database cannot be reached ({type(error).__name__})"
    return ""


if __name__ == "__main__":
    sys.exit(main())
