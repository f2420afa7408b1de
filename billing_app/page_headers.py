"""Security headers of pages: only the build's own scripts run."""

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.types import Message, Send

from billing_app.api.security_headers import frame_ancestors, strict_transport
from billing_app.routes import SIGNED_IN_PAGES
from billing_app.settings import load_settings

BUILT_PAGES: Final = Path(__file__).resolve().parent.parent / ".web" / "build" / "client"
INLINE_SCRIPT: Final = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


def script_source(pages: Path) -> str:
    """The `script-src` of built pages. Their inline scripts are allowed by hash; `unsafe-eval` is
    what Reflex runs `rx.call_script` with."""
    scripts = {
        script
        for page in sorted(pages.rglob("*.html"))
        for script in INLINE_SCRIPT.findall(page.read_bytes())
    }
    hashes = sorted(f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in scripts)
    return " ".join(["script-src 'self' 'unsafe-eval'", *hashes])


@cache
def _page_headers(*, is_framed: bool) -> list[tuple[bytes, bytes]]:
    """`is_framed`: the origins that the operator allows may show the page in a frame."""
    ancestors = frame_ancestors(load_settings()) if is_framed else "frame-ancestors 'none'"
    policy = (
        f"{ancestors}; base-uri 'self'; object-src 'none'; form-action 'self'; "
        + script_source(BUILT_PAGES)
    )
    return [
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"same-origin"),
        (b"x-content-type-options", b"nosniff"),
        *strict_transport(),
    ]


def with_page_headers(path: str, send: Send) -> Send:
    # Vite names its files by content, so they never change; everything else is revalidated.
    immutable = path.startswith("/assets/")
    page_headers = _page_headers(is_framed=(path.rstrip("/") or "/") in SIGNED_IN_PAGES)
    cache_control = b"public, max-age=31536000, immutable" if immutable else b"no-cache"

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", []), *page_headers]
            if message["status"] < 400:
                headers.append((b"cache-control", cache_control))
            message = {**message, "headers": headers}
        await send(message)

    return send_with_headers
