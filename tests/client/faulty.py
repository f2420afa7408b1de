"""A real TCP server in front of the API that loses, cuts, delays and refuses, as it is asked."""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SLOW_SECONDS: Final = 0.8
ONE_SECOND: Final = "1"


class Fault(StrEnum):
    """What becomes of one request. `…_AFTER`: the API has decided it, but nobody hears of it."""

    PASS = "pass"
    DROP = "drop"
    DROP_AFTER = "drop_after"
    CUT_AFTER = "cut_after"
    SLOW_AFTER = "slow_after"
    BUSY = "busy"
    BUSY_A_SECOND = "busy_a_second"
    LIMITED = "limited"
    LIMITED_A_SECOND = "limited_a_second"
    UNDECIDED = "undecided"
    UNDECIDED_AFTER = "undecided_after"
    GATEWAY = "gateway"
    GATEWAY_AFTER = "gateway_after"
    NONSENSE = "nonsense"


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in."""

    method: str
    path: str
    key: str | None
    body: bytes
    at: float


def problem(status: int, code: str, retry_after: str | None) -> bytes:
    content = f'{{"type":"x","title":"x","status":{status},"detail":"","code":"{code}"}}'
    more = f"Retry-After: {retry_after}\r\n" if retry_after else ""
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/problem+json\r\n{more}"
        f"Content-Length: {len(content)}\r\n\r\n{content}"
    ).encode()


PAGE: Final = b"<html>Bad gateway</html>"
GATEWAY_PAGE: Final = b"HTTP/1.1 502 X\r\nContent-Length: %d\r\n\r\n%s" % (len(PAGE), PAGE)
ANSWERS: Final[dict[Fault, bytes]] = {
    Fault.BUSY: problem(503, "overloaded", "0"),
    Fault.BUSY_A_SECOND: problem(503, "overloaded", ONE_SECOND),
    Fault.LIMITED: problem(429, "too_many_attempts", None),
    Fault.LIMITED_A_SECOND: problem(429, "too_many_attempts", ONE_SECOND),
    Fault.UNDECIDED: problem(503, "cannot_decide", "0"),
    Fault.UNDECIDED_AFTER: problem(503, "cannot_decide", "0"),
    Fault.GATEWAY: GATEWAY_PAGE,
    Fault.GATEWAY_AFTER: GATEWAY_PAGE,
    Fault.NONSENSE: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
}
FORWARDED: Final = {
    Fault.PASS,
    Fault.DROP_AFTER,
    Fault.CUT_AFTER,
    Fault.SLOW_AFTER,
    Fault.UNDECIDED_AFTER,
    Fault.GATEWAY_AFTER,
}


class FaultyServer:
    """`plan` says what becomes of the next requests, in order; those after it pass."""

    def __init__(self, upstream_port: int) -> None:
        self.port = 0
        self.received: list[Received] = []
        self._upstream_port = upstream_port
        self._plan: deque[Fault] = deque()
        self._last: Fault = Fault.PASS
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plan(self, faults: Sequence[Fault], then: Fault = Fault.PASS) -> None:
        self.received.clear()
        self._plan = deque(faults)
        self._last = then

    def __enter__(self) -> "FaultyServer":
        self._thread.start()
        opened = asyncio.start_server(self._serve, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(opened, self._loop).result(10)
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection stays open."""
        head, body = await _read_message(reader)
        fault = self._plan.popleft() if self._plan else self._last
        self.received.append(_received(head, body, self._loop.time()))
        answer = ANSWERS.get(fault, b"")
        if fault in FORWARDED:
            real = await self._forward(head + body)
            answer = answer or real
        if fault in {Fault.DROP, Fault.DROP_AFTER}:
            return False
        if fault is Fault.SLOW_AFTER:
            await asyncio.sleep(SLOW_SECONDS)
        writer.write(answer[: len(answer) // 2] if fault is Fault.CUT_AFTER else answer)
        await writer.drain()
        if fault is Fault.CUT_AFTER:
            await asyncio.sleep(0.01)
        return fault is not Fault.CUT_AFTER

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        writer.write(request)
        await writer.drain()
        head, body = await _read_message(reader)
        writer.close()
        return head + body


async def _read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(_header(head, "content-length") or 0)
    return head, await reader.readexactly(length)


def _received(head: bytes, body: bytes, at: float) -> Received:
    method, path, _ = head.split(b" ", 2)
    return Received(method.decode(), path.decode(), _header(head, "idempotency-key"), body, at)


def _header(head: bytes, name: str) -> str | None:
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.decode().lower() == name:
            return value.decode().strip()
    return None
