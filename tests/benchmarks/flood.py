"""A flood of batches from thousands of connections: what a process cannot queue it refuses, and its
memory stays what it is.

Run as `python -m tests.benchmarks.flood` it is the flood: a Flood as JSON on standard input, a
Refusal on standard output.
"""

import asyncio
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Final, cast

import msgspec
import psutil
import uvloop

from billing_app.billing.executions.group_commit import MAX_QUEUED
from tests.benchmarks import requests
from tests.benchmarks.processes import BenchmarkError

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

CONNECTIONS: Final = 2_000
ITEMS: Final = 50
SECONDS: Final = 30.0
QUICK_SECONDS: Final = 8.0
REFUSED_PAUSE_SECONDS: Final = 0.1
AT_A_TIME: Final = 100
SAMPLE_SECONDS: Final = 0.5
GROWTH: Final = 1.1
MEGABYTE: Final = 1024**2


class Flood(msgspec.Struct, frozen=True, kw_only=True):
    port: int
    seconds: float
    head: str
    items: list[str]
    run: str


class Refusal(msgspec.Struct):
    """Answers by status; those of 503 without Retry-After."""

    statuses: dict[str, int]
    without_retry_after: int


class Connection(asyncio.Protocol):
    """Sends a batch, waits for the whole answer, and sends the next one."""

    def __init__(self, state: "State") -> None:
        self._state = state
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        start = head.find(b"content-length: ") + 16
        if not found or len(body) < int(head[start:].partition(b"\r")[0]):
            return
        self._buffer = b""
        status = head[9:12].decode()
        self._state.statuses[status] += 1
        if status == "503" and b"retry-after: " not in head:
            self._state.without_retry_after += 1
        pause = 0.0 if status == "200" else REFUSED_PAUSE_SECONDS
        asyncio.get_running_loop().call_later(pause, self.send)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._state.is_over:
            self._state.statuses["closed"] += 1

    def send(self) -> None:
        if not self._state.is_over and not self._transport.is_closing():
            self._transport.write(self._state.request())


class State:
    def __init__(self, flood: Flood) -> None:
        self.statuses: Counter[str] = Counter()
        self.without_retry_after = 0
        self.is_over = False
        self._flood = flood
        self._numbers = count()

    def request(self) -> bytes:
        batch = next(self._numbers)
        items = ",".join(
            f'{item},"idempotency_key":"{self._flood.run}-{batch}-{number}"}}'
            for number, item in enumerate(self._flood.items)
        )
        body = f'{{"items":[{items}]}}'
        return f"{self._flood.head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def flood(cases: "Cases") -> None:
    """Memory in the last third of a flood against that in the first one."""
    seconds = QUICK_SECONDS if cases.plan.rounds == 1 else SECONDS
    with cases.start("ours") as server:
        before = cases.bed.executions_used()
        samples: list[float] = []
        with _sampling(server.pid, samples):
            refusal = _send(_flood_on(cases, server.port, seconds))
        counted = cases.bed.executions_used() - before
    if counted < refusal.statuses.get("200", 0) * ITEMS:
        raise BenchmarkError(f"{refusal.statuses}, but {counted} executions counted.")
    third = len(samples) // 3
    ratio = max(samples[-third:]) / max(samples[:third])
    report = cases.report
    report.at_most("flood: memory in the last third, of the first", ratio, GROWTH, "x")
    report.at_most("flood: 503 without Retry-After", refusal.without_retry_after, 0, "")
    report.at_least("flood: answers with 503", refusal.statuses.get("503", 0), 1, "")
    report.note(
        f"{CONNECTIONS:,} connections sent batches of {ITEMS} for {seconds:.0f} s, and"
        f" {MAX_QUEUED:,} decisions may wait: {refusal.statuses}; {samples[0]:.0f} MB before,"
        f" at most {max(samples):.0f} MB."
    )


def _flood_on(cases: "Cases", port: int, seconds: float) -> Flood:
    return Flood(
        port=port,
        seconds=seconds,
        head=requests.batch_head(cases.bed.secret),
        items=requests.batch_tails(cases.bed.many[:ITEMS]),
        run="flood",
    )


def _send(wanted: Flood) -> Refusal:
    process = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.flood"],
        input=msgspec.json.encode(wanted),
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.json.decode(process.stdout, type=Refusal)


@contextmanager
def _sampling(pid: int, samples: list[float]) -> Iterator[None]:
    """Megabytes of the largest process of a server, now and then."""
    is_over = threading.Event()
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]

    def sample() -> None:
        while True:
            samples.append(max(each.memory_info().rss for each in processes) / MEGABYTE)
            if is_over.wait(SAMPLE_SECONDS):
                return

    thread = threading.Thread(target=sample)
    thread.start()
    yield
    is_over.set()
    thread.join()


async def _run(wanted: Flood) -> Refusal:
    state = State(wanted)
    loop = asyncio.get_running_loop()
    connections: list[Connection] = []
    for _ in range(CONNECTIONS // AT_A_TIME):
        opened = [
            loop.create_connection(lambda: Connection(state), "127.0.0.1", wanted.port)
            for _ in range(AT_A_TIME)
        ]
        connections += [connection for _, connection in await asyncio.gather(*opened)]
    ends_at = time.monotonic() + wanted.seconds
    for connection in connections:
        connection.send()
    await asyncio.sleep(ends_at - time.monotonic())
    state.is_over = True
    return Refusal(dict(state.statuses), state.without_retry_after)


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=Flood)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_run(wanted))))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
