"""One thing is not "1 things"."""

import pytest

from billing_app.billing.quantities import counted
from billing_app.billing.subscriptions.account_runs import AccountsFailedError


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 executions"), (1, "1 execution"), (2, "2 executions"), (2000, "2,000 executions")],
)
def test_noun_follows_its_number(count: int, text: str) -> None:
    assert counted(count, "execution") == text


def test_one_failed_account_is_singular() -> None:
    assert "failed for 1 account," in str(AccountsFailedError("syncs", {"acc_1": "broke"}, 3))
