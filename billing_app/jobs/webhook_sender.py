"""Sends a webhook: signed, to public addresses only, within a time and a size.

The name of the endpoint is resolved here, once for each connection, and the connection goes to an
address that was checked: what the name means a moment later does not matter. Redirects are not
followed, and proxies of the environment are not used.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any, Final

import httpcore

from billing_app.billing.webhooks_out.addresses import is_public
from billing_app.billing.webhooks_out.attempts import Answer, Message

TIMEOUT_SECONDS: Final = 15.0
CONNECT_SECONDS: Final = 5.0
MAX_ANSWER_BYTES: Final = 64 * 1024
KEPT_BYTES: Final = 2_000
HTTPS: Final = "https://"
NOT_HTTPS: Final = "The URL is not https."
USER_AGENT: Final = b"billing-webhooks/1"

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a name. Raises OSError."""


class RefusedAddressError(httpcore.ConnectError):
    """The name has no address that may be called."""


async def resolve(host: str, port: int) -> list[str]:
    """By the system's resolver. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked; names in URLs and certificates stay names."""

    def __init__(self, resolver: Resolve, *, allow_private: bool) -> None:
        self._resolver = resolver
        self._allow_private = allow_private
        self._backend: httpcore.AsyncNetworkBackend = httpcore.AnyIOBackend()  # pyright: ignore[reportAttributeAccessIssue]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            found = await self._resolver(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"The name was not found: {error}") from error
        allowed = [each for each in found if self._allow_private or is_public(each)]
        if not allowed:
            raise RefusedAddressError("The address is not on the public internet.")
        problem: Exception | None = None
        for address in allowed:
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        assert problem is not None
        raise problem

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class WebhookSender:
    def __init__(
        self,
        *,
        allow_private: bool,
        resolver: Resolve = resolve,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._backend = CheckedBackend(resolver, allow_private=allow_private)
        self._allow_http = allow_private
        self._timeout_seconds = timeout_seconds

    async def send(self, message: Message, now: datetime) -> Answer:
        """What the endpoint answered, or why it did not."""
        if not self._allow_http and not message.url.lower().startswith(HTTPS):
            return Answer(None, "", NOT_HTTPS, 0)
        headers = signed_headers(message, now)
        began_at = time.monotonic()
        status, text, error = None, "", ""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status, text = await self._exchange(message, headers)
        except TimeoutError:
            error = f"There was no complete response within {self._timeout_seconds:g} seconds."
        except Exception as failure:
            error = _worded(failure)
        return Answer(status, text, error, round((time.monotonic() - began_at) * 1_000))

    async def _exchange(
        self, message: Message, headers: list[tuple[bytes, bytes]]
    ) -> tuple[int, str]:
        timeouts = {"connect": CONNECT_SECONDS, "pool": None, "read": None, "write": None}
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=_ssl_context(), network_backend=self._backend, retries=0
            ) as pool,
            pool.stream(
                "POST",
                message.url,
                headers=headers,
                content=message.body.encode(),
                extensions={"timeout": timeouts},
            ) as response,
        ):
            return response.status, await _beginning(response)


def signed_headers(message: Message, now: datetime) -> list[tuple[bytes, bytes]]:
    """Those of Standard Webhooks; while a secret is rotated, with a signature of both."""
    from standardwebhooks import Webhook

    signatures = [
        Webhook(secret).sign(message.message_id, now, message.body) for secret in message.secrets
    ]
    return [
        (b"Content-Type", b"application/json"),
        (b"User-Agent", USER_AGENT),
        (b"webhook-id", message.message_id.encode()),
        (b"webhook-timestamp", str(int(now.timestamp())).encode()),
        (b"webhook-signature", " ".join(signatures).encode()),
    ]


async def _beginning(response: httpcore.Response) -> str:
    """Of the body; the rest is read up to MAX_ANSWER_BYTES, and then the connection is closed."""
    body = b""
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) >= MAX_ANSWER_BYTES:
            break
    return body[:KEPT_BYTES].decode(errors="replace")


@cache
def _ssl_context() -> ssl.SSLContext:
    return httpcore.default_ssl_context()


def _worded(failure: Exception) -> str:
    if isinstance(failure, RefusedAddressError):
        return str(failure)
    text = str(failure).strip().partition("\n")[0]
    name = type(failure).__name__.removesuffix("Error").removesuffix("Exception")
    return f"{name}: {text}" if text else name
