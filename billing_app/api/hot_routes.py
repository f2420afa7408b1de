"""The routes that services call around each execution, in plain ASGI and msgspec.

They run in front of the FastAPI app at a fraction of its cost; openapi.py describes them from the
same structs.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from billing_app.api import bodies, media_types
from billing_app.api.body_limit import MAX_BODY_BYTES
from billing_app.api.problems import (
    CONTENT_TYPE,
    BodyTooLargeError,
    MalformedJsonError,
    MethodNotAllowedError,
    UnexpectedError,
    encode_problem,
    retry_after_seconds,
    status_of,
)
from billing_app.api.request_guard import duplicate_authorization, duplicate_key
from billing_app.api.request_log import tell
from billing_app.api.security_headers import answer_headers
from billing_app.api.slow_bodies import SlowBodies
from billing_app.billing import ids
from billing_app.billing.actors import ServiceActor
from billing_app.billing.errors import (
    BillingError,
    DeniedError,
    EventNotFoundError,
    InvalidInputError,
    NotAuthenticatedError,
    ReservationNotFoundError,
)
from billing_app.billing.executions.requests import (
    Accepted,
    Commit,
    Decision,
    Refund,
    Release,
    Request,
)
from billing_app.billing.executions.service import caller_of
from billing_app.composition import Services
from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH, UPGRADE

JSON: Final = (b"content-type", b"application/json")
REPLAYED: Final = (b"idempotency-replayed", b"true")
BEARER: Final = b"bearer "

SETTLE_PATH: Final = re.compile(r"/billing/reservations/([^/]+)/(commit|release)", re.ASCII)
REFUND_PATH: Final = re.compile(r"/billing/executions/([^/]+)/refund", re.ASCII)

PATHS: Final = {
    "_check": CHECK_EXECUTIONS,
    "_check_batch": CHECK_EXECUTIONS_BATCH,
    "_settle": "/billing/reservations/{reservation_id}/{action}",
    "_refund": "/billing/executions/{event_id}/refund",
}

log = structlog.get_logger(__name__)


def pattern_of(path: str) -> str | None:
    """The pattern of a path that is served here."""
    if SETTLE_PATH.fullmatch(path):
        return PATHS["_settle"]
    if REFUND_PATH.fullmatch(path):
        return PATHS["_refund"]
    return path if path in (CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH) else None


class HotRoutes:
    """ASGI: serves its own paths and passes everything else on."""

    def __init__(self, app: ASGIApp, services: Callable[[], Services]) -> None:
        self._app = app
        self._services = services
        self._lookups: dict[str, asyncio.Task[ServiceActor]] = {}
        self._slow_bodies = SlowBodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path == CHECK_EXECUTIONS:
            answer = self._check
        elif path == CHECK_EXECUTIONS_BATCH:
            answer = self._check_batch
        elif SETTLE_PATH.fullmatch(path):
            answer = self._settle
        elif REFUND_PATH.fullmatch(path):
            answer = self._refund
        else:
            await self._app(scope, receive, send)
            return
        await self._answer(answer, scope, receive, send)

    async def _answer(
        self,
        answer: Callable[["_Call"], Awaitable[Decision]],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        services, began = self._services(), time.monotonic()
        try:
            call = await self._read_call(scope, receive, services)
            decision = await answer(call)
            if isinstance(decision, DeniedError):
                await services.denial_reads.explain([decision])
        except BillingError as error:
            decision = error
        except Exception:
            log.exception("hot_route_failed", path=scope["path"])
            decision = UnexpectedError()
        status = await _send(decision, send, services)
        seconds = time.monotonic() - began
        if status >= 500 or seconds > services.settings.slow_request_seconds:
            tell(scope, path=PATHS[answer.__name__], status=status, seconds=seconds)

    async def _read_call(self, scope: Scope, receive: Receive, services: Services) -> "_Call":
        authorization = content_type = content_encoding = b""
        key: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if authorization:
                    raise duplicate_authorization()
                authorization = value
            elif name == b"idempotency-key":
                if key is not None:
                    raise duplicate_key()
                key = value
            elif name == b"content-type":
                content_type = value
            elif name == b"content-encoding":
                content_encoding = value
        if scope["method"] != "POST":
            raise MethodNotAllowedError
        actor = await self._authenticate(authorization, services)
        return _Call(
            services,
            actor,
            scope["path"],
            None if key is None else bodies.header_key(key),
            content_type,
            content_encoding,
            await _read_body(receive, self._slow_bodies),
        )

    async def _authenticate(self, authorization: bytes, services: Services) -> ServiceActor:
        if authorization[: len(BEARER)].lower() != BEARER:
            raise NotAuthenticatedError("Send an API key as Authorization: Bearer <key>.")
        secret = authorization[len(BEARER) :].strip().decode("latin-1")
        actor = services.keys.cached(secret)
        if actor is not None:
            return actor
        # When a cached key expires, all requests in flight would look it up at once, and 256
        # look-ups take a second. The first one looks it up, the others await its result.
        lookup = self._lookups.get(secret)
        if lookup is None:
            lookup = asyncio.create_task(services.keys.authenticate(secret, datetime.now(UTC)))
            lookup.add_done_callback(lambda _: self._lookups.pop(secret, None))
            self._lookups[secret] = lookup
        return await asyncio.shield(lookup)

    async def _check(self, call: "_Call") -> Decision:
        body = call.decode(bodies.CHECK)
        public = call.services.terms.public_organization_id
        ask = bodies.check_request(body, call.idempotency_key, caller_of(call.actor), public)
        return await call.services.executions.decide(call.actor, ask)

    async def _check_batch(self, call: "_Call") -> Decision:
        batch: bodies.CheckBatch | bodies.UncheckedBatch
        try:
            batch = call.decode(bodies.CHECK_BATCH)
        except (InvalidInputError, MalformedJsonError):
            batch = bodies.decode_each(call.body)
        return Accepted(await _decide_batch(call, batch))

    async def _settle(self, call: "_Call") -> Decision:
        reservation_id, action = _captured(SETTLE_PATH, call.path)
        pair = ids.decode(ids.RESERVATION, reservation_id)
        if pair is None:
            raise ReservationNotFoundError
        request: Request
        if action == "commit":
            executions = call.decode(bodies.COMMIT, optional=True).executions
            request = Commit(*pair, executions, caller_of(call.actor))
        else:
            request = Release(*pair, caller_of(call.actor))
        return await call.services.executions.decide(call.actor, request)

    async def _refund(self, call: "_Call") -> Decision:
        (event_id,) = _captured(REFUND_PATH, call.path)
        pair = ids.decode(ids.EVENT, event_id)
        if pair is None:
            raise EventNotFoundError
        body = call.decode(bodies.REFUND)
        key = call.idempotency_key
        if key == "":
            raise bodies.invalid_key()
        refund = Refund(*pair, body.executions, body.reason, key or "", caller_of(call.actor))
        return await call.services.executions.decide(call.actor, refund)


class _Call(msgspec.Struct, gc=False):
    """One authenticated request with its body."""

    services: Services
    actor: ServiceActor
    path: str
    idempotency_key: str | None
    content_type: bytes
    content_encoding: bytes
    body: bytes

    def decode(self, decoder: "msgspec.json.Decoder[Any]", *, optional: bool = False) -> Any:
        """Raises ContentTypeError, MalformedJsonError, InvalidInputError."""
        if optional and not self.body:
            return decoder.decode(b"{}")
        if self.content_type != media_types.JSON or self.content_encoding:
            media_types.require_json(self.content_type, self.content_encoding)
        return bodies.decode(decoder, self.body)


async def _read_body(receive: Receive, slow_bodies: SlowBodies) -> bytes:
    """Raises BodyTooLargeError, BodyTimeoutError."""
    task = slow_bodies.begin()
    try:
        return await _receive_body(receive)
    finally:
        slow_bodies.end(task)


async def _receive_body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLargeError
        return body
    chunks = [body]
    size = len(body)
    while message.get("more_body"):
        if size > MAX_BODY_BYTES:
            raise BodyTooLargeError
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
    if size > MAX_BODY_BYTES:
        raise BodyTooLargeError
    return b"".join(chunks)


async def _decide_batch(call: _Call, batch: bodies.CheckBatch | bodies.UncheckedBatch) -> bytes:
    """`{"results": [{"status": int, …}]}` in the order of the items."""
    caller = caller_of(call.actor)
    public = call.services.terms.public_organization_id
    parsed = [bodies.item_of(item, caller, public) for item in batch.items]
    asks = [ask for ask in parsed if not isinstance(ask, BillingError)]
    decided = iter(await call.services.executions.decide_each(call.actor, asks))
    decisions = [ask if isinstance(ask, BillingError) else next(decided) for ask in parsed]
    denials = [decision for decision in decisions if isinstance(decision, DeniedError)]
    if denials:
        await call.services.denial_reads.explain(denials)
    upgrade_url = call.services.settings.public_url + UPGRADE
    results = b",".join(_result(decision, upgrade_url) for decision in decisions)
    return b'{"results":[' + results + b"]}"


def _result(decision: Decision, upgrade_url: str) -> bytes:
    if isinstance(decision, Accepted):
        return b'{"status":200,' + decision.answer[1:]
    return encode_problem(decision, upgrade_url)


def _captured(pattern: re.Pattern[str], path: str) -> tuple[str, ...]:
    match = pattern.fullmatch(path)
    assert match is not None
    return match.groups()


async def _send(decision: Decision, send: Send, services: Services) -> int:
    """The status that was sent."""
    if isinstance(decision, Accepted):
        body, status = decision.answer, 200
        headers = [JSON, (b"content-length", b"%d" % len(body))]
        if decision.replayed:
            headers.append(REPLAYED)
    else:
        body = encode_problem(decision, services.settings.public_url + UPGRADE)
        status = status_of(decision)
        headers = [
            (b"content-type", CONTENT_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        seconds = retry_after_seconds(decision)
        if seconds is not None:
            headers.append((b"retry-after", b"%d" % seconds))
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        elif status == 405:
            headers.append((b"allow", b"POST"))
    headers += answer_headers()
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return status
