"""A crowd of connections that take their time, in a process of its own.

Idle ones have had an answer and keep the connection; slow ones send a request byte by byte, half of
them its headers and half its body. What the server closes is opened again.
Run as `python -m tests.benchmarks.crowd`: a Crowd as a line of JSON on standard input, "ready" on
standard output once all are open; ends with standard input, then prints a Gathering as JSON.
"""

import asyncio
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import uvloop

from billing_app.routes import CHECK_EXECUTIONS, HEALTH
from tests.benchmarks.processes import BenchmarkError

AT_A_TIME: Final = 100
DRIP_SECONDS: Final = 1.0
READY_SECONDS: Final = 120.0
KEPT_SHARE: Final = 0.98
REQUEST: Final = f"GET {HEALTH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
HEADERS: Final = REQUEST.removesuffix(b"\r\n") + b"X-Slow: "
BODY: Final = (
    f"POST {CHECK_EXECUTIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    + b"Authorization: Bearer %b\r\nContent-Type: application/json\r\n"
    + b"Content-Length: 500\r\n\r\n{"
)
DRIP: Final = b" "


class Crowd(msgspec.Struct, kw_only=True, frozen=True):
    """How many of which; `secret` is the key of the slow bodies' requests."""

    port: int
    idle: int
    slow: int
    secret: str


class Gathering(msgspec.Struct, kw_only=True):
    """`open` now; `reopened` after the server closed them, `refused` when they were opened."""

    open: int = 0
    reopened: int = 0
    refused: int = 0


@contextmanager
def gathered(crowd: Crowd) -> Iterator[None]:
    """All of them are open while the block runs. Raises BenchmarkError when some were refused."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.crowd"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(crowd) + b"\n")
        process.stdin.flush()
        if process.stdout.readline() != b"ready\n":
            raise BenchmarkError("The crowd could not be gathered.")
        yield
        gathering = msgspec.json.decode(process.communicate(timeout=30)[0], type=Gathering)
    finally:
        process.kill()
        process.wait()
    if gathering.refused or gathering.open < KEPT_SHARE * (crowd.idle + crowd.slow):
        raise BenchmarkError(f"Not all connections were kept: {gathering}")


class Members:
    """Keeps each connection of a crowd open, whatever the server does."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._opening = asyncio.Semaphore(AT_A_TIME)
        self._gathering = Gathering()
        self._are_open = asyncio.Event()

    async def gather(self) -> None:
        """Until standard input ends."""
        slow = (HEADERS, BODY % self._crowd.secret.encode())
        members = [self._keep_open(REQUEST, is_slow=False) for _ in range(self._crowd.idle)]
        members += [self._keep_open(slow[n % 2], is_slow=True) for n in range(self._crowd.slow)]
        tasks = [asyncio.create_task(member) for member in members]
        async with asyncio.timeout(READY_SECONDS):
            await self._are_open.wait()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)
        sys.stdout.buffer.write(msgspec.json.encode(self._gathering))
        sys.stdout.buffer.flush()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_open(self, sent: bytes, *, is_slow: bool) -> None:
        while True:
            try:
                reader, writer = await self._open(sent, is_answered=not is_slow)
            except (OSError, asyncio.IncompleteReadError):
                self._gathering.refused += 1
                await asyncio.sleep(DRIP_SECONDS)
                continue
            self._count(1)
            try:
                await (_drip(reader, writer) if is_slow else reader.read())
            except OSError:
                pass  # The server may reset what it gives up.
            finally:
                writer.close()
            self._count(-1)
            self._gathering.reopened += 1

    async def _open(
        self, sent: bytes, *, is_answered: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._opening:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._crowd.port)
            writer.write(sent)
            if is_answered:
                await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    def _count(self, more: int) -> None:
        self._gathering.open += more
        if self._gathering.open == self._crowd.idle + self._crowd.slow:
            self._are_open.set()


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte now and then, until the server ends the request."""
    ended = asyncio.create_task(reader.read())
    try:
        while not ended.done():
            writer.write(DRIP)
            await asyncio.wait({ended}, timeout=DRIP_SECONDS)
        await ended
    finally:
        ended.cancel()


def main() -> None:
    crowd = msgspec.json.decode(sys.stdin.buffer.readline(), type=Crowd)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(Members(crowd).gather())


if __name__ == "__main__":
    main()
