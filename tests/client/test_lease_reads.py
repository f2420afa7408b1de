"""Leases are listed and read through both clients."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from billing_app.client import Billing, LeaseLine, LeaseTerms, NotFoundError
from tests.api.server import ApiServer
from tests.client.driven import Driven
from tests.factories import Holder


def test_leases_are_listed_and_read(
    driven: Driven, server: ApiServer, key: str, holder: Holder, tmp_path: Path
) -> None:
    org = holder.organization_id
    workflows = ["a", "b", "c"]
    terms = LeaseTerms(tmp_path, executions=10, settle_seconds=600)
    with Billing(server.url, key, leases=terms) as leasing:
        first, *_ = [leasing.lease(org, workflow=each) for each in workflows]
        page = driven.leases(org, limit=2)
        assert [(each.workflow, each.status) for each in page.items] == [
            ("c", "open"),
            ("b", "open"),
        ]
        assert page.next_cursor is not None
        listed = driven.each_lease(account_id=holder.account_id, limit=2)
        assert [each.workflow for each in listed] == workflows[::-1]
        lease_id = listed[-1].id
        found = driven.read_lease(lease_id)
        assert (found.lease, found.lines) == (listed[-1], [])
        before = datetime.now(UTC).date()
        assert first.consume(4, workflow="a", user_id="ada")
        after = datetime.now(UTC).date()
    settled = driven.read_lease(lease_id)
    assert (settled.lease.status, settled.lease.executions_settled) == ("closed", 4)
    assert settled.lines in [[LeaseLine("a", "ada", day, 4)] for day in (before, after)]
    assert driven.leases(org).items == []
    with pytest.raises(NotFoundError):
        driven.read_lease("lse_none")
