"""Headers of every answer of the API: nobody keeps it, and no browser guesses what it is."""

from functools import cache
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing_app.settings import Settings, load_settings

HSTS_SECONDS: Final = 31_536_000


@cache
def strict_transport() -> list[tuple[bytes, bytes]]:
    """HSTS (RFC 6797), where people use the site over https."""
    if not load_settings().public_url.startswith("https://"):
        return []
    return [(b"strict-transport-security", b"max-age=%d" % HSTS_SECONDS)]


def frame_ancestors(settings: Settings) -> str:
    """Which sites may frame a page, for its Content-Security-Policy."""
    return "frame-ancestors " + (" ".join(sorted(settings.frame_origins)) or "'none'")


@cache
def answer_headers() -> list[tuple[bytes, bytes]]:
    return [
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *strict_transport(),
    ]


class SecurityHeaders:
    """ASGI: adds the headers to what the app answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = answer_headers()
                kept = [each for each in message.get("headers", []) if each[0] != b"cache-control"]
                message = {**message, "headers": [*kept, *ours]}
            await send(message)

        await self._app(scope, receive, send_with_headers)
