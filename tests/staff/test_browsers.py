"""How browsers name themselves, in words."""

import pytest

from billing_app.states.staff.browsers import browser_of

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"


@pytest.mark.parametrize(
    ("user_agent", "told"),
    [
        (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/142.0 Safari/537.36", "Chrome on Linux"),
        (f"{WINDOWS} {WEBKIT} Chrome/142.0 Safari/537.36 Edg/142.0", "Edge on Windows"),
        (f"{WINDOWS} {WEBKIT} Chrome/142.0 Safari/537.36 OPR/120.0", "Opera on Windows"),
        (f"{WINDOWS[:-1]}; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox on Windows"),
        (f"{IPHONE} Version/18.1 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
        (f"{IPHONE} CriOS/142.0 Mobile/15E148 Safari/604.1", "Chrome on iPhone"),
        (
            f"Mozilla/5.0 (Linux; Android 15; Pixel 9) {WEBKIT} Chrome/142.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        (f"{MAC} Version/18.1 Safari/605.1.15", "Safari on macOS"),
        ("curl/8.5.0", "curl"),
        ("python-requests/2.32", "python-requests"),
        ("", "Unknown"),
        ("\u0000<script>", "Unknown"),
    ],
)
def test_browser_is_named_from_user_agent(user_agent: str, told: str) -> None:
    assert browser_of(user_agent) == told
