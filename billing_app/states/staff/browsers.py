"""The browser's name, from its user agent."""

import re
from typing import Final

# The first that is named counts: browsers also name those that they want to be taken for.
BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
PROGRAM: Final = re.compile(r"[A-Za-z][\w.-]{0,40}")


def browser_of(user_agent: str) -> str:
    """ "Chrome on Linux"; for other programs their name, such as "curl"."""
    browser = _first(BROWSERS, user_agent)
    system = _first(SYSTEMS, user_agent)
    if browser:
        return f"{browser} on {system}" if system else browser
    program = PROGRAM.match(user_agent)
    return program[0] if program else "Unknown"


def _first(names: tuple[tuple[str, str], ...], user_agent: str) -> str:
    return next((label for name, label in names if name in user_agent), "")
