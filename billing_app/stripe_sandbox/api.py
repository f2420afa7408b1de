"""One API request from bytes to bytes: faults, key, idempotency, parameters, effect, answer."""

import asyncio
import base64
import binascii
import re
import secrets
import socket
import struct
import time
import traceback
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from billing_app.stripe_sandbox import registry
from billing_app.stripe_sandbox.contract.sdk import API_VERSION
from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.errors import Json, StripeError
from billing_app.stripe_sandbox.faults import Fault, Faults
from billing_app.stripe_sandbox.forms import decode_form
from billing_app.stripe_sandbox.idempotency import IdempotencyKeys, KeptAnswer, fingerprint
from billing_app.stripe_sandbox.render import encoded, render
from billing_app.stripe_sandbox.webhooks import Deliverer
from billing_app.stripe_sandbox.world import RequestContext, World

_TEST_KEY = re.compile(r"(sk|rk)_test_\w+\Z")
_MAX_BODY_BYTES = 1_000_000
# Requests without a version (Stripe's CLI) may still send what this version has removed.
REMOVED_PARAMS = frozenset({"payment_method_types"})


@dataclass
class Call:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    query: str
    body: str
    request_id: str = field(default_factory=lambda: f"req_{secrets.token_hex(7)}")

    @property
    def idempotency_key(self) -> str | None:
        return self.headers.get("idempotency-key") if self.method == "POST" else None


@dataclass(frozen=True)
class Answer:
    """What is sent back; `executed` is false if the request was refused before it had an effect."""

    status: int
    body: Json
    headers: dict[str, str] = field(default_factory=dict)
    executed: bool = True


class Api:
    """The ASGI application for `/v1`."""

    def __init__(self, world: World, deliverer: Deliverer) -> None:
        self.world, self.deliverer = world, deliverer
        self.faults: Faults = deliverer.faults
        self.keys = IdempotencyKeys()
        self.log: deque[Json] = deque(maxlen=5_000)
        self._recent: deque[float] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = await _read_call(scope, receive)
        fault = self.faults.for_request(call.method, call.path)
        if fault and fault.when == "before" and await self._suffer(fault, call, send):
            return
        answer = self._answer(call)
        if fault and fault.when == "after" and await self._suffer(fault, call, send):
            return
        await self._send(answer, call, send)

    def _answer(self, call: Call) -> Answer:
        try:
            self._check_key(call)
            self._check_rate()
            self._check_version(call)
            data = _decode(call)
            if "stripe-version" not in call.headers:
                data = {name: data[name] for name in data.keys() - REMOVED_PARAMS}
            return self._once(call, data)
        except StripeError as error:
            headers = {"Stripe-Rate-Limited-Reason": "global-rate"} if error.status == 429 else {}
            return Answer(error.status, {"error": error.error}, headers, executed=False)

    def _once(self, call: Call, data: Json) -> Answer:
        key = call.idempotency_key
        if not key:
            return self.execute(call, data)
        print_ = fingerprint(call.method, call.path, data)
        kept = self.keys.earlier(key, print_, int(time.time()))
        if kept:
            headers = {"Idempotent-Replayed": "true", "Original-Request": kept.request_id}
            return Answer(kept.status, kept.body, headers)
        answer = self.execute(call, data)
        if answer.executed:
            self.keys.keep(
                key,
                KeptAnswer(print_, answer.status, answer.body, call.request_id, int(time.time())),
            )
            self.world.note_change()
        return answer

    def execute(self, call: Call, data: Json) -> Answer:
        """Carries out the request, or undoes everything, and answers."""
        executed = False
        world = self.world
        world.context = RequestContext(call.request_id, call.idempotency_key)
        try:
            with world.store.savepoint():
                entry, identifiers = registry.find_route(call.method, call.path)
                params = registry.read(world, entry, data)
                executed = True
                expand = params.pop("expand", [])
                answer = Answer(
                    200, render(world, entry.handler(world, params, *identifiers), expand)
                )
            world.check_answer(answer.body, f"answer {call.method} {entry.path}")
        except StripeError as error:
            answer = Answer(error.status, {"error": _public_error(world, error)}, {}, executed)
        except Exception:
            world.violations.append(
                {"where": f"crash {call.method} {call.path}", "problem": traceback.format_exc()}
            )
            body = {
                "error": {"type": "api_error", "message": "The sandbox failed; see violations."}
            }
            answer = Answer(500, body)
        finally:
            world.context = RequestContext()
            self.deliverer.take_new_events()
        return answer

    def _check_key(self, call: Call) -> None:
        header = call.headers.get("authorization", "")
        scheme, _, value = header.partition(" ")
        key = _basic_user(value) if scheme.lower() == "basic" else value
        if _TEST_KEY.match(key):
            return
        if key.startswith(("sk_live", "rk_live")):
            self.world.violations.append(
                {"where": f"request {call.method} {call.path}", "problem": "a live key was sent"}
            )
        shown = f"{key[:7]}****" if key else "(none)"
        raise StripeError(401, "invalid_request_error", f"Invalid API Key provided: {shown}")

    def _check_rate(self) -> None:
        limit = self.world.settings.rate_limit_per_second
        now = time.monotonic()
        while self._recent and self._recent[0] < now - 1:
            self._recent.popleft()
        if limit and len(self._recent) >= limit:
            raise StripeError(
                429, "invalid_request_error", "Request rate limit exceeded.", code="rate_limit"
            )
        self._recent.append(now)

    def _check_version(self, call: Call) -> None:
        version = call.headers.get("stripe-version", API_VERSION)
        if version != API_VERSION:
            raise StripeError(
                400,
                "invalid_request_error",
                f"This sandbox supports API version {API_VERSION}, not {version}.",
            )

    async def _suffer(self, fault: Fault, call: Call, send: Send) -> bool:
        """Carries out the fault. True if nothing more is to be sent."""
        key = call.idempotency_key
        if fault.seconds:
            if key:
                self.keys.in_progress.add(key)
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                self.keys.in_progress.discard(key or "")
        if fault.kind == "reset":
            reset_connection(send)
            return True
        if fault.kind == "status":
            body = {"error": {"type": "api_error", "message": "Injected fault.", **fault.error}}
            await self._send(Answer(fault.status, body, fault.headers), call, send)
            return True
        return False

    async def _send(self, answer: Answer, call: Call, send: Send) -> None:
        error = answer.body.get("error")
        self.log.append(
            {
                "method": call.method,
                "path": call.path,
                "status": answer.status,
                "idempotency_key": call.idempotency_key,
                "error": error.get("code") or error.get("type") if error else None,
            }
        )
        headers = {
            "Content-Type": "application/json",
            "Request-Id": call.request_id,
            "Stripe-Version": API_VERSION,
            **answer.headers,
        }
        if call.idempotency_key:
            headers["Idempotency-Key"] = call.idempotency_key
            headers.setdefault("Original-Request", call.request_id)
        if error:
            error.setdefault("request_log_url", f"{self.world.base_url}/_sandbox/requests")
        await send_bytes(send, answer.status, headers, encoded(answer.body))


async def send_bytes(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def reset_connection(send: Any) -> None:
    """Resets the TCP connection, as a broken network does, through uvicorn's transport.

    Does nothing if the client has already closed it.
    """
    transport = send.__self__.transport
    if transport.is_closing():
        return
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _read_call(scope: Scope, receive: Receive) -> Call:
    chunks: list[bytes] = []
    more = True
    while more and sum(map(len, chunks)) <= _MAX_BODY_BYTES:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
    body = b"".join(chunks).decode("utf-8", "replace")
    return Call(scope["method"], scope["path"], headers, scope["query_string"].decode(), body)


def _decode(call: Call) -> Json:
    return decode_form(call.query) | decode_form(call.body)


def _basic_user(value: str) -> str:
    try:
        return base64.b64decode(value).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _public_error(world: World, error: StripeError) -> Json:
    fields = public(error.error)
    for name in ("payment_intent", "setup_intent"):
        if name in fields:
            world.check_answer(fields[name], f"error.{name}")
    return fields
