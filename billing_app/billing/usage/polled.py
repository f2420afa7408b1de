"""Usage as services poll it: one statement, no session, the same rows."""

from typing import Final

from billing_app.billing import ids
from billing_app.billing.accounts.service import key_may_read, require_reading
from billing_app.billing.actors import ServiceActor
from billing_app.billing.errors import AccountNotFoundError
from billing_app.billing.usage.service import Days, GroupBy, UsageRow, usage_rows, usage_statement
from billing_app.db.read_pool import ReadPool

# The first row names the owner.
STATEMENTS: Final = {
    group_by: f"""
    SELECT (SELECT organization_id FROM accounts WHERE id = $1), NULL, NULL, NULL
    UNION ALL SELECT * FROM ({usage_statement(group_by, "$1", "$2", "$3")}) AS usage"""  # noqa: S608
    for group_by in GroupBy
}


class PolledUsage:
    """Reads usage for service keys."""

    def __init__(self, pool: ReadPool) -> None:
        self._pool = pool

    async def read(
        self, actor: ServiceActor, account_id: str, *, days: Days, group_by: GroupBy
    ) -> list[UsageRow]:
        """As usage/service.read_usage. Raises AccountNotFoundError, ScopeMissingError,
        UnreadableError."""
        require_reading(actor)
        number = ids.decode_account(account_id)
        if number is None:
            raise AccountNotFoundError
        first, *rows = await self._pool.fetch(STATEMENTS[group_by], number, days.first, days.last)
        owner = first[0]
        if owner is None or not key_may_read(actor, owner, number):
            raise AccountNotFoundError
        return usage_rows(rows)
