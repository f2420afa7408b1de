"""Refuses in one place what no route behind it can take, before anything of it is read."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from billing_app.api import media_types
from billing_app.api.errors import problem_response
from billing_app.api.problems import RouteNotFoundError
from billing_app.billing.errors import BillingError, InvalidInputError, NotAuthenticatedError

READING: Final = frozenset({"GET", "HEAD"})


class RequestGuard:
    """ASGI: answers a request that cannot be right, passes every other one on.

    Refused are a line break in the path with 404 (a last one would be passed over by Starlette's
    patterns), a NUL in the query with 422 (PostgreSQL keeps none), a second Idempotency-Key with
    422, a second Authorization with 401, and a body in an encoding or charset that nobody here
    reads with 415.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or pass it on."""
        refusal = _refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await problem_response(refusal)(scope, receive, send)


def key_given_twice() -> InvalidInputError:
    """Which of two keys is meant, nobody can tell."""
    return InvalidInputError("Idempotency-Key is given twice.", field="idempotency_key")


def identity_given_twice() -> NotAuthenticatedError:
    """Who of two callers is meant, nobody can tell."""
    return NotAuthenticatedError("Authorization is given twice.")


def _refusal(scope: Scope) -> BillingError | None:
    if "\n" in scope["path"]:
        return RouteNotFoundError("No address has a line break in it.")
    query: bytes = scope["query_string"]
    if b"%00" in query or b"\0" in query:
        return _nul_in_query(query)
    return _wrong_headers(scope["headers"], has_body=scope["method"] not in READING)


def _nul_in_query(query: bytes) -> InvalidInputError | None:
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if "\0" in name:
            return InvalidInputError("The query has a NUL character in a name.")
        if "\0" in value:
            return InvalidInputError(f"{name}: has a NUL character in it.", field=name)
    return None


def _wrong_headers(
    headers: Iterable[tuple[bytes, bytes]], *, has_body: bool
) -> BillingError | None:
    seen: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"idempotency-key" and name in seen:
            return key_given_twice()
        if name == b"authorization" and name in seen:
            return identity_given_twice()
        seen[name] = value
    if not has_body:
        return None
    return media_types.wrong_encoding(seen.get(b"content-encoding", b"")) or (
        media_types.wrong_charset(seen.get(b"content-type", b""))
    )
