"""Rejects requests that no route can accept, before reading the body."""

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
    """ASGI: rejects malformed requests and passes every other one on.

    404 for a line break in the path (Starlette's patterns ignore a trailing one), 422 for a NUL in
    the query (PostgreSQL cannot store it) or a second Idempotency-Key, 401 for a second
    Authorization header, 415 for a body in an unsupported encoding or charset.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject one request or pass it on."""
        refusal = _refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await problem_response(refusal)(scope, receive, send)


def duplicate_key() -> InvalidInputError:
    """Nothing tells which of two keys counts."""
    return InvalidInputError("Send Idempotency-Key only once.", field="idempotency_key")


def duplicate_authorization() -> NotAuthenticatedError:
    """Nothing tells which of two callers is meant."""
    return NotAuthenticatedError("Send Authorization only once.")


def _refusal(scope: Scope) -> BillingError | None:
    if "\n" in scope["path"]:
        return RouteNotFoundError("A path cannot contain a line break.")
    query: bytes = scope["query_string"]
    if b"%00" in query or b"\0" in query:
        return _nul_in_query(query)
    return _wrong_headers(scope["headers"], has_body=scope["method"] not in READING)


def _nul_in_query(query: bytes) -> InvalidInputError | None:
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if "\0" in name:
            return InvalidInputError("A query parameter's name contains a NUL character.")
        if "\0" in value:
            return InvalidInputError(f"{name}: must not contain a NUL character", field=name)
    return None


def _wrong_headers(
    headers: Iterable[tuple[bytes, bytes]], *, has_body: bool
) -> BillingError | None:
    seen: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"idempotency-key" and name in seen:
            return duplicate_key()
        if name == b"authorization" and name in seen:
            return duplicate_authorization()
        seen[name] = value
    if not has_body:
        return None
    return media_types.wrong_encoding(seen.get(b"content-encoding", b"")) or (
        media_types.wrong_charset(seen.get(b"content-type", b""))
    )
