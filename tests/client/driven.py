"""Both clients behind one face, so that each test runs with both."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from billing_app.client import AsyncBilling, Billing, Run


class Driven:
    """`driven.consume(…)` and so on; of the async client, run to its end on a loop of its own."""

    def __init__(self, client: Billing | AsyncBilling) -> None:
        self.client = client
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> "Driven":
        return self

    def __exit__(self, *_: object) -> None:
        self.wait(self.client.close())
        self._loop.close()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)
        return lambda *args, **kwargs: self.wait(method(*args, **kwargs))

    @contextmanager
    def run(self, *args: Any, **kwargs: Any) -> Iterator[Run]:
        entered = self.client.run(*args, **kwargs)
        if isinstance(self.client, Billing):
            with entered as run:  # pyright: ignore[reportGeneralTypeIssues]
                yield run
            return
        run = self.wait(entered.__aenter__())  # pyright: ignore[reportAttributeAccessIssue]
        try:
            yield run
        except BaseException as error:
            self.wait(entered.__aexit__(type(error), error, None))  # pyright: ignore[reportAttributeAccessIssue]
            raise
        self.wait(entered.__aexit__(None, None, None))  # pyright: ignore[reportAttributeAccessIssue]

    def wait(self, result: Any) -> Any:
        if inspect.iscoroutine(result):
            return self._loop.run_until_complete(result)
        if isinstance(result, AsyncIterator):
            return self._loop.run_until_complete(_all(result))
        return list(result) if isinstance(result, Iterator) else result


async def _all(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]
