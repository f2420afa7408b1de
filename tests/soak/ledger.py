"""What was acknowledged against what the ledger has: each event once, and no other."""

from collections.abc import Mapping
from typing import Any, Final

from tests.factories import connect
from tests.soak.services import Acknowledged

EVENTS: Final = """
SELECT account_id, number, kind, sum(executions)::bigint FROM execution_events
WHERE account_id = ANY(%s) GROUP BY 1, 2, 3
"""
RESERVATIONS: Final = """
SELECT account_id, number, status FROM reservations WHERE account_id = ANY(%s)
"""
SHOWN: Final = 5


def differences(url: str, accounts: list[int], acknowledged: Acknowledged) -> list[str]:
    """One line each; empty when all that was acknowledged was counted, and nothing else."""
    with connect(url) as connection:
        events = {
            ((account, number), kind): executions
            for account, number, kind, executions in connection.execute(EVENTS, [accounts])
        }
        reservations = {
            (account, number): status
            for account, number, status in connection.execute(RESERVATIONS, [accounts])
        }
    return [
        *(f"acknowledged twice: {each}" for each in acknowledged.repeated[:SHOWN]),
        *_compare("event", acknowledged.events, events),
        *_compare("reservation", acknowledged.reservations, reservations),
    ]


def _compare(what: str, told: Mapping[Any, object], found: Mapping[Any, object]) -> list[str]:
    lost = [f"{what} lost: {each}" for each in told.keys() - found.keys()]
    unknown = [f"{what} nobody asked for: {each}" for each in found.keys() - told.keys()]
    other = [
        f"{what} {each}: told {told[each]}, counted {found[each]}"
        for each in told.keys() & found.keys()
        if told[each] != found[each]
    ]
    return [line for lines in (lost, unknown, other) for line in lines[:SHOWN]]
