"""A soak notices what is lost, doubled or counted otherwise."""

from billing_app.billing import ids
from tests.factories import connect, organization
from tests.soak.ledger import differences
from tests.soak.services import Acknowledged


def test_differences_between_answers_and_ledger(own_database_url: str) -> None:
    holder = organization(own_database_url, 1_000)
    account = holder.account_number
    _count(own_database_url, account, {1: 3, 2: 4, 3: 5})

    told = Acknowledged()
    for number, executions in ((1, 3), (2, 4), (3, 5)):
        told.event("consume", ids.encode(ids.EVENT, account, number), executions)
    assert differences(own_database_url, [account], told) == []

    told.event("consume", ids.encode(ids.EVENT, account, 4), 1)
    told.event("consume", ids.encode(ids.EVENT, account, 2), 7)
    told.reservation(ids.encode(ids.RESERVATION, account, 9), "released")
    del told.events[(account, 3), "consume"]
    assert sorted(line.split(":")[0].split(" (")[0] for line in _found(own_database_url, told)) == [
        "acknowledged twice",
        "event",
        "event lost",
        "event nobody asked for",
        "reservation lost",
    ]


def _found(url: str, told: Acknowledged) -> list[str]:
    accounts = [account for (account, _), _ in told.events]
    return differences(url, accounts, told)


def _count(url: str, account: int, events: dict[int, int]) -> None:
    with connect(url) as connection:
        for number, executions in events.items():
            connection.execute(
                "INSERT INTO execution_events (account_id, number, plan_sequence, kind, executions,"
                " plan_used_after, remaining_after, workflow, user_id, idempotency_key, reason,"
                " occurred_at) VALUES (%s, %s, 1, 'consume', %s, 0, 0, '', '', '', '', now())",
                [account, number, executions],
            )
