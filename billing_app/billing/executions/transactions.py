"""The transactions of one connection, one after another.

Under load, the message that ends one begins the next: a round trip less for each batch.
"""

from collections.abc import Callable
from types import TracebackType

from billing_app.billing.executions.connection import Connection


class Transactions:
    """`async with` is one transaction: committed at the end of the block, unless that raises."""

    def __init__(self, connection: Connection, is_more_waiting: Callable[[], bool]) -> None:
        """`is_more_waiting` says, as a transaction commits, whether another follows at once."""
        self.connection = connection
        self._is_more_waiting = is_more_waiting
        self._is_open = False

    async def __aenter__(self) -> Connection:
        if not self._is_open:
            await self.connection.execute("BEGIN")
            self._is_open = True
        return self.connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        if error is not None:
            await self.connection.execute("ROLLBACK")
            return
        is_chained = self._is_more_waiting()
        await self.connection.execute("COMMIT AND CHAIN" if is_chained else "COMMIT")
        self._is_open = is_chained

    async def end(self) -> None:
        """Leave no transaction open when nothing follows after all."""
        if self._is_open:
            self._is_open = False
            await self.connection.execute("COMMIT")
