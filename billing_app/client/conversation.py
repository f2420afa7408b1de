"""What is sent and decided, without doing any I/O: generators that both clients drive.

A conversation yields an httpx.Request and is sent the reply, or yields seconds or a flush to wait
for; it returns the result, or raises.
"""

from collections.abc import Generator, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import httpx
import msgspec

from . import routes
from .answers import CheckAnswer
from .bodies import CheckBatch, CheckItem
from .errors import ProblemError, UnexpectedAnswerError, answer_error, error_of, problem_of
from .journal import Flush
from .retries import UNDECIDED, Attempts, Reply, Retries
from .routes import Operation, new_key

Answer = TypeVar("Answer")
Result = TypeVar("Result")
Step: TypeAlias = httpx.Request | float | Flush
Conversation: TypeAlias = Generator[Step, Reply | None, Result]
BatchResult: TypeAlias = CheckAnswer | ProblemError

MAX_ITEMS: Final = 1000
NO_CONTENT: Final = 204


class Connection:
    """Where requests go, and with which key."""

    def __init__(self, url: str, key: str, retries: Retries, user_agent: str) -> None:
        self.retries = retries
        self._url = httpx.URL(url.rstrip("/"))
        if self._url.scheme not in {"http", "https"} or not self._url.host:
            raise ValueError(f"Not the address of a server: {url!r}")
        if not key.isascii() or not key.isprintable() or " " in key or not key:
            raise ValueError("The API key has characters that no key has, or none at all.")
        self._paths: dict[str, httpx.URL] = {}
        self._headers = [
            ("Host", self._url.netloc.decode("ascii")),
            ("Authorization", f"Bearer {key}"),
            ("Accept", "application/json"),
            ("User-Agent", user_agent),
        ]

    def request(self, operation: Operation[Any], timeout_seconds: float) -> httpx.Request:
        headers = self._headers.copy()
        if operation.content:
            headers.append(("Content-Type", "application/json"))
        if operation.idempotency_key is not None:
            headers.append(("Idempotency-Key", operation.idempotency_key))
        parts = dict.fromkeys(("connect", "read", "write", "pool"), timeout_seconds)
        return httpx.Request(
            operation.route.method,
            self._address(operation),
            params=operation.query or None,
            headers=headers,
            content=operation.content,
            extensions={"timeout": parts},
        )

    def _address(self, operation: Operation[Any]) -> httpx.URL:
        """Parsing costs as much as the rest of a request: once for each path without ids."""
        known = self._paths.get(operation.path)
        if known is None:
            known = httpx.URL(f"{self._url}{operation.path}")
            if operation.path == operation.route.path:
                self._paths[operation.path] = known
        return known


def answered(connection: Connection, operation: Operation[Any]) -> Conversation[httpx.Response]:
    """The successful response, its body read unless it is streamed.

    Raises UnavailableError, and the error that the server answers.
    """
    attempts = Attempts(connection.retries, operation)
    while True:
        reply = yield connection.request(operation, attempts.timeout_seconds())
        assert reply is not None
        wait_seconds = attempts.wait_seconds(reply)
        if wait_seconds is None:
            assert isinstance(reply, httpx.Response)
            if not reply.is_success:
                raise answer_error(reply.status_code, reply.content)
            return reply
        yield wait_seconds


def call(connection: Connection, operation: Operation[Answer]) -> Conversation[Answer]:
    """The answer. Raises as `answered`, and UnexpectedAnswerError."""
    response = yield from answered(connection, operation)
    content = b"null" if response.status_code == NO_CONTENT else response.content
    try:
        return operation.route.decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedAnswerError(response.status_code, str(error)) from error


def call_batch(
    connection: Connection, items: Sequence[CheckItem]
) -> Conversation[list[BatchResult]]:
    """One result for each item, in order. Raises as `call`.

    Items that could not be decided are sent again, with their keys, until the time is up.
    """
    keyed = [_with_key(item) for item in items]
    results: list[BatchResult] = []
    for start in range(0, len(keyed), MAX_ITEMS):
        results += yield from _decided(connection, keyed[start : start + MAX_ITEMS])
    return results


def _decided(connection: Connection, items: Sequence[CheckItem]) -> Conversation[list[BatchResult]]:
    operation = routes.CHECK_BATCH.operation(body=CheckBatch(list(items)))
    found = yield from _results(connection, operation, len(items))
    attempts = Attempts(connection.retries, operation)
    while pending := [n for n, each in enumerate(found) if _is_undecided(each)]:
        wait_seconds = attempts.item_wait_seconds()
        if wait_seconds is None:
            break
        yield wait_seconds
        again = routes.CHECK_BATCH.operation(body=CheckBatch([items[n] for n in pending]))
        decided = yield from _results(connection, again, len(pending))
        for number, result in zip(pending, decided, strict=True):
            found[number] = result
    return found


def _results(
    connection: Connection, operation: Operation[routes.BatchResults], count: int
) -> Conversation[list[BatchResult]]:
    answer = yield from call(connection, operation)
    if len(answer.results) != count:
        raise UnexpectedAnswerError(200, f"{len(answer.results)} results for {count} items")
    return [_result(each) for each in answer.results]


def _result(raw: msgspec.Raw) -> BatchResult:
    problem = problem_of(bytes(raw))
    if problem is not None:
        return error_of(problem)
    try:
        return routes.CHECK.decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise UnexpectedAnswerError(200, str(error)) from error


def _is_undecided(result: BatchResult) -> bool:
    return isinstance(result, ProblemError) and result.problem.status in UNDECIDED


def _with_key(item: CheckItem) -> CheckItem:
    if item.mode == "check" or item.idempotency_key is not None:
        return item
    return msgspec.structs.replace(item, idempotency_key=new_key())
