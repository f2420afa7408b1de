"""Replays a recorded trace against a running server: one consume for each row of a CSV file.

The key of a row is the file's name and the row's number, so a replay can be stopped and run
again without counting twice.
"""

import asyncio
import csv
import ssl
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from billing_app.routes import CHECK_EXECUTIONS

TIME_COLUMN: Final = "TIMESTAMP"
MAX_ATTEMPTS: Final = 8
FIRST_WAIT_SECONDS: Final = 0.2
TIMEOUT_SECONDS: Final = 30.0
MAX_PORT: Final = 65_535
RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})


class ReplayError(Exception):
    """The replay cannot continue; the message is for the operator."""


class ReplayStoppedError(Exception):
    """The replay was interrupted; `counts` covers the rows that got a response."""

    def __init__(self, counts: "Counts") -> None:
        super().__init__("Stopped. Run the command again to continue; nothing is counted twice.")
        self.counts = counts


@dataclass(slots=True)
class Counts:
    accepted: int = 0
    denied: int = 0
    replayed: int = 0

    def __str__(self) -> str:
        return f"accepted {self.accepted}  denied {self.denied}  replayed {self.replayed}"


@dataclass(frozen=True, slots=True)
class Target:
    base_url: str
    api_key: str
    organization_id: str


@dataclass(frozen=True, slots=True)
class Row:
    """`after_seconds` is relative to the first row; 0 when the file has no times."""

    number: int
    after_seconds: float


async def replay(file: Path, target: Target, *, speed: float | None, concurrency: int) -> Counts:
    """Send every row. `speed` 1 keeps the recorded pace, 10 is ten times faster, None never waits.

    Raises ReplayError, and ReplayStoppedError when it is cancelled.
    """
    _require_usable(target, file.name)
    rows = list(read_rows(file))
    counts = Counts()
    bar = Progress("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(one) for one in _clients(target, concurrency)]
        senders = [_Sender(client, target.organization_id, file.name, counts) for client in clients]
        stack.enter_context(bar)
        task = bar.add_task(f"Replaying {file.name}", total=len(rows))
        try:
            await _send_all(rows, senders, lambda: bar.advance(task), speed=speed)
        except asyncio.CancelledError:
            raise ReplayStoppedError(counts) from None
    return counts


def _require_usable(target: Target, name: str) -> None:
    """Raise ReplayError for a base URL, key or file name that no request can carry."""
    try:
        url = httpx.URL(target.base_url)
    except httpx.InvalidURL as error:
        raise ReplayError(f"The base URL is not valid: {error}") from None
    if url.scheme not in ("http", "https") or not url.host or not _is_port(url.port):
        raise ReplayError(
            f"The base URL must look like http://HOST or https://HOST:PORT, not {target.base_url}"
        )
    if not (target.api_key.isascii() and target.api_key.isprintable() and target.api_key.strip()):
        raise ReplayError("The key is not valid. Use one that `keys create` printed.")
    if not name.isprintable():
        raise ReplayError("The file's name contains a control character. Rename the file.")


def _is_port(port: int | None) -> bool:
    return port is None or 0 < port <= MAX_PORT


def _clients(target: Target, count: int) -> Iterator[httpx.AsyncClient]:
    """One client for each connection: httpx scans its whole pool on each request."""
    context = ssl.create_default_context()
    for _ in range(count):
        yield httpx.AsyncClient(
            base_url=target.base_url,
            headers={"Authorization": f"Bearer {target.api_key}"},
            timeout=TIMEOUT_SECONDS,
            verify=context,
        )


async def _send_all(
    rows: list[Row], senders: list["_Sender"], done: Callable[[], None], *, speed: float | None
) -> None:
    waiting: asyncio.Queue[Row | None] = asyncio.Queue(maxsize=len(senders))

    async def feed() -> None:
        started = asyncio.get_running_loop().time()
        for row in rows:
            if speed is not None:
                due = started + row.after_seconds / speed
                await asyncio.sleep(due - asyncio.get_running_loop().time())
            await waiting.put(row)
        for _ in senders:
            await waiting.put(None)

    async def send(sender: _Sender) -> None:
        while (row := await waiting.get()) is not None:
            await sender.send(row)
            done()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(feed())
            for sender in senders:
                group.create_task(send(sender))
    except* ReplayError as errors:
        raise errors.exceptions[0] from None


def read_rows(file: Path) -> Iterator[Row]:
    """Raises ReplayError when the file is not readable CSV or a time is not valid."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            first: datetime | None = None
            for number, record in enumerate(csv.DictReader(lines), start=1):
                at = _time_of(record, number)
                first = first or at
                yield Row(number, (at - first).total_seconds() if at and first else 0.0)
    except OSError as error:
        raise ReplayError(f"{file}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReplayError(f"{file} is not a CSV file in UTF-8: {error}") from None


class _Sender:
    def __init__(
        self, client: httpx.AsyncClient, organization_id: str, name: str, counts: Counts
    ) -> None:
        self._client = client
        self._organization_id = organization_id
        self._name = name
        self._counts = counts

    async def send(self, row: Row) -> None:
        """Send a row until it is decided, and count the result. Raises ReplayError."""
        self._count(await self._answer(row))

    async def _answer(self, row: Row) -> httpx.Response:
        body = {"organization_id": self._organization_id, "mode": "consume"}
        headers = {b"Idempotency-Key": f"{self._name}:{row.number}".encode()}
        problem = ""
        for attempt in range(MAX_ATTEMPTS):
            try:
                answer = await self._client.post(CHECK_EXECUTIONS, json=body, headers=headers)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__} {error}".strip()
            else:
                if answer.status_code not in RETRIED_STATUSES:
                    return answer
                problem = f"status {answer.status_code}"
            await asyncio.sleep(FIRST_WAIT_SECONDS * 2**attempt)
        raise ReplayError(
            f"Row {row.number}: no response ({problem}). Run the command again to continue."
        )

    def _count(self, answer: httpx.Response) -> None:
        if answer.status_code == 200:
            if answer.headers.get("Idempotency-Replayed") == "true":
                self._counts.replayed += 1
            else:
                self._counts.accepted += 1
        elif answer.status_code == 402:
            self._counts.denied += 1
        else:
            raise ReplayError(f"The server returned {answer.status_code}: {answer.text[:300]}")


def _time_of(record: dict[str, str], number: int) -> datetime | None:
    text = record.get(TIME_COLUMN)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ReplayError(f"Row {number}: {TIME_COLUMN} is not a valid time: {text}") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
