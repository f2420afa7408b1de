"""The load: keep-alive clients on raw sockets, each with one request under way, in one process.

It shares two cores with what it measures, so that requests are put together from ready bytes
and answers are looked at no further than status and length.
Run as `python -m tests.benchmarks.load`: a Load as JSON on standard input, a Result on
standard output.
"""

import asyncio
import random
import sys
import time
from collections.abc import Iterator
from itertools import count, cycle
from typing import Final, Literal, cast

import msgspec
import uvloop

from tests.benchmarks.cpu import cpu_seconds

MAX_ERRORS_KEPT: Final = 3
DRAIN_SECONDS: Final = 60.0


class Load(msgspec.Struct, kw_only=True):
    """What to send. Each request is `head + key + mid + tail` (consume) or `head + tail`.

    `tails` differ by account and are taken in turn; `window` opens after `warm_up_seconds`. Answers
    of another `status` are errors.
    """

    port: int
    clients: int
    seconds: float
    warm_up_seconds: float
    head: str
    tails: list[str]
    kind: Literal["keyed", "plain", "batch"] = "keyed"
    batch_items: int = 0
    status: int = 200
    run: str = ""
    server_pid: int = 0
    database_pids: list[int] = []


class Result(msgspec.Struct, kw_only=True):
    """Counts of the window; `accepted_in_all` counts answers of the wanted status, from the first
    to the last."""

    requests: int
    seconds: float
    accepted_in_all: int
    errors: int
    error_samples: list[str]
    p50_ms: float
    p99_ms: float
    server_cpu_seconds: float = 0.0
    database_cpu_seconds: float = 0.0
    own_cpu_seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


class Generator:
    """The state that all clients share."""

    def __init__(self, load: Load) -> None:
        self.next_request = _requests(load).__next__
        self.status = str(load.status).encode()
        self.latencies: list[float] = []
        self.is_measuring = False
        self.is_stopping = False
        self.accepted = 0
        self.errors = 0
        self.error_samples: list[str] = []
        self.active = 0
        self.drained = asyncio.Event()

    def reject(self, answer: bytes) -> None:
        self.errors += 1
        if len(self.error_samples) < MAX_ERRORS_KEPT:
            self.error_samples.append(answer.decode("latin-1"))


class Client(asyncio.Protocol):
    """One connection that asks, waits for the whole answer, and asks again."""

    __slots__ = ("buffer", "generator", "sent_at", "transport")

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.buffer = b""
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self.generator.active += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.generator.is_stopping:
            self.generator.reject(b"connection lost")
            self.stop()

    def ask(self) -> None:
        self.transport.write(self.generator.next_request())
        self.sent_at = time.perf_counter()

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        if not _is_whole(data):
            self.buffer = data
            return
        self.buffer = b""
        generator = self.generator
        if generator.is_measuring:
            generator.latencies.append(time.perf_counter() - self.sent_at)
        if data[9:12] == generator.status:
            generator.accepted += 1
        else:
            generator.reject(data)
        if generator.is_stopping:
            self.stop()
        else:
            self.ask()

    def stop(self) -> None:
        self.transport.abort()
        self.generator.active -= 1
        if not self.generator.active:
            self.generator.drained.set()


def _is_whole(data: bytes) -> bool:
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return False
    start = data.find(b"content-length: ") + 16
    return len(data) - head_end - 4 >= int(data[start : data.index(b"\r", start)])


def _requests(load: Load) -> Iterator[bytes]:
    head = load.head.encode()
    tails = [tail.encode() for tail in load.tails]
    random.Random(load.run).shuffle(tails)  # noqa: S311 - the order of a load is no secret
    turn = cycle(tails)
    if load.kind == "plain":
        return (head + tail for tail in turn)
    if load.kind == "batch":
        return _batches(load, head, turn)
    prefix = head + f"Idempotency-Key: {load.run}-".encode()
    return (prefix + b"%012d" % number + tail for number, tail in zip(count(), turn, strict=False))


def _batches(load: Load, head: bytes, turn: Iterator[bytes]) -> Iterator[bytes]:
    """Tails are items without their closing brace; each gets a key of its own."""
    run = load.run.encode()
    numbers = count()
    while True:
        items = b",".join(
            next(turn) + b',"idempotency_key":"%b-%012d"}' % (run, next(numbers))
            for _ in range(load.batch_items)
        )
        body = b'{"items":[' + items + b"]}"
        yield head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def run(load: Load) -> Result:
    """Raises ConnectionError when nobody listens, TimeoutError when answers stay away."""
    generator = Generator(load)
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    for _ in range(load.clients):
        _, client = await loop.create_connection(lambda: Client(generator), "127.0.0.1", load.port)
        clients.append(client)
    for client in clients:
        client.ask()
    await asyncio.sleep(load.warm_up_seconds)
    before = _cpu(load)
    generator.is_measuring = True
    started_at = time.perf_counter()
    await asyncio.sleep(load.seconds)
    generator.is_measuring = False
    seconds = time.perf_counter() - started_at
    after = _cpu(load)
    generator.is_stopping = True
    async with asyncio.timeout(DRAIN_SECONDS):
        await generator.drained.wait()
    latencies = sorted(generator.latencies)
    return Result(
        requests=len(latencies),
        seconds=seconds,
        accepted_in_all=generator.accepted,
        errors=generator.errors,
        error_samples=generator.error_samples,
        p50_ms=_percentile_ms(latencies, 0.50),
        p99_ms=_percentile_ms(latencies, 0.99),
        server_cpu_seconds=after[0] - before[0],
        database_cpu_seconds=after[1] - before[1],
        own_cpu_seconds=after[2] - before[2],
    )


def _percentile_ms(ordered: list[float], share: float) -> float:
    return ordered[int((len(ordered) - 1) * share)] * 1000 if ordered else 0.0


def _cpu(load: Load) -> tuple[float, float, float]:
    database = sum(cpu_seconds(pid) for pid in load.database_pids)
    return cpu_seconds(load.server_pid), database, time.process_time()


def main() -> None:
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(load))))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
