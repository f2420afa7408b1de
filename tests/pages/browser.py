"""Finds a Chromium for the tests, or gets one. `python -m tests.pages.browser` says which."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MACOS = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
INSTALL_TIMEOUT_SECONDS = 600


def find_browser() -> str | None:
    """The path of an installed Chromium or Chrome, or of the one Playwright downloaded."""
    installed = [found for name in NAMES if (found := shutil.which(name))]
    if installed:
        return installed[0]
    if MACOS.exists():
        return str(MACOS)
    with sync_playwright() as playwright:
        downloaded = playwright.chromium.executable_path
    return downloaded if Path(downloaded).exists() else None


def ensure_browser() -> str | None:
    """find_browser(), after Playwright's download and then Debian's package were tried."""
    found = find_browser()
    if found is None and _run(sys.executable, "-m", "playwright", "install", "chromium"):
        found = find_browser()
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "chromium")
        found = find_browser()
    return found


def _run(*command: str) -> bool:
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            timeout=INSTALL_TIMEOUT_SECONDS,
            check=False,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0


if __name__ == "__main__":
    browser = ensure_browser()
    if browser is None:
        sys.exit("The browser tests need Chromium or Chrome: install one, then run make again.")
    print(f"Browser for the tests: {browser}")
