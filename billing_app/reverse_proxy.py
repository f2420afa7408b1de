"""The reverse proxy in front of pages and API on one port."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing_app import routes
from billing_app.api.security_headers import strict_transport
from billing_app.draining import closing, draining
from billing_app.page_headers import with_page_headers
from billing_app.settings import load_settings
from billing_app.socket_limits import SocketLimits

# The build's file for pages with a name in their path; the browser routes by itself.
ANY_PAGE: Final = "/404.html"

PAGES_IN_FOLDERS: Final = frozenset(
    {
        *routes.SIGNED_IN_PAGES,
        *routes.OPEN_PAGES,
        *routes.STAFF_PAGES,
        routes.CHANGE_PASSWORD,
    }
    - {routes.DASHBOARD}
)


class ReverseProxy:
    """ASGI: routes each request to the pages or to the API.

    Pages that need a session redirect to the sign-in page when the request has no session cookie,
    so nobody sees an empty page first. Whether the session is valid is checked on every event.
    """

    def __init__(self, *, pages: ASGIApp, api: ASGIApp) -> None:
        self._pages = pages
        self._api = api
        self._sockets = SocketLimits(pages, has_session=_has_session_cookie)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one connection."""
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
        elif scope["type"] != "http":
            await self._pages(scope, receive, send)
        elif _is_api(scope["path"]):
            await self._api(scope, receive, send)
        elif _needs_session(scope["path"]) and not _has_session_cookie(scope):
            await _redirect_to_sign_in(scope, send)
        else:
            if draining.is_on:
                send = closing(send)
            send = with_page_headers(scope["path"], send)
            await self._pages(_built_path(scope), receive, send)


def _is_api(path: str) -> bool:
    return routes.is_api(path) or (routes.is_demo_mail(path) and load_settings().billing_demo)


def _needs_session(path: str) -> bool:
    page = path.rstrip("/") or "/"
    is_own = page in routes.SIGNED_IN_PAGES or page == routes.CHANGE_PASSWORD
    return is_own or routes.is_staff_page(page)


def _built_path(scope: Scope) -> Scope:
    """The scope with the path of the page's file in the build, which saves a redirect."""
    path: str = scope["path"]
    if routes.is_staff_detail_page(path):
        return {**scope, "path": ANY_PAGE, "raw_path": ANY_PAGE.encode()}
    if path in PAGES_IN_FOLDERS:
        return {**scope, "path": f"{path}/", "raw_path": f"{path}/".encode()}
    return scope


def _has_session_cookie(scope: Scope) -> bool:
    return bool(session_token(Headers(scope=scope).get("cookie", "")))


def session_token(cookie_header: str) -> str:
    """The session token in a Cookie header; empty when there is none."""
    return cookie_parser(cookie_header).get(routes.SESSION_COOKIE, "")


async def _redirect_to_sign_in(scope: Scope, send: Send) -> None:
    path: str = scope["path"].rstrip("/") or routes.DASHBOARD
    target = routes.SIGN_IN if path == routes.DASHBOARD else f"{routes.SIGN_IN}?next={quote(path)}"
    headers = [
        (b"location", target.encode()),
        (b"cache-control", b"no-store"),
        (b"content-length", b"0"),
        *strict_transport(),
    ]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def lifespan_of(app: ASGIApp) -> Callable[[], AbstractAsyncContextManager[None]]:
    """Runs startup and shutdown of a mounted ASGI app, which its parent app does not.

    Raises RuntimeError with the app's message when startup fails.
    """

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        incoming: asyncio.Queue[Message] = asyncio.Queue()
        outgoing: asyncio.Queue[Message] = asyncio.Queue()
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}

        async def run() -> None:
            await app(scope, incoming.get, outgoing.put)

        task = asyncio.create_task(run())
        await _lifespan_step("startup", task, incoming, outgoing)
        try:
            yield
        finally:
            await _lifespan_step("shutdown", task, incoming, outgoing)
            await task

    return lifespan


async def _lifespan_step(
    step: str,
    task: asyncio.Task[None],
    incoming: asyncio.Queue[Message],
    outgoing: asyncio.Queue[Message],
) -> None:
    await incoming.put({"type": f"lifespan.{step}"})
    answer = asyncio.create_task(outgoing.get())
    await asyncio.wait({answer, task}, return_when=asyncio.FIRST_COMPLETED)
    if not answer.done():
        answer.cancel()
        raise RuntimeError(f"The API ended during {step}") from task.exception()
    message = answer.result()
    if message["type"] == f"lifespan.{step}.failed":
        raise RuntimeError(message.get("message", f"The API failed during {step}"))
