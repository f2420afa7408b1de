"""Reads with an invalid day, range, limit, cursor or filter."""

import httpx
import pytest

from billing_app.billing import ids
from tests.api.bad_input.refusals import READS, refused
from tests.factories import Holder, organization

PAGED = ("/billing/plans/history", "/billing/usage/events", "/billing/account-history")


@pytest.mark.parametrize("name", ["from", "to"])
@pytest.mark.parametrize(
    "day", ["x", "", "2026-13-01", "2026-02-30", "0000-01-01", "9999-12-31", "20260101",
            "2026-W01-1", "2026-1-1", "1970-01-01", "2026-01-01T00:00:00Z", "\0"]
)  # fmt: skip
def test_invalid_day(service: httpx.Client, holder: Holder, name: str, day: str) -> None:
    for path in READS[2:]:
        params = {"organization_id": holder.organization_id, name: day}
        response = service.get(path, params=params)
        if day:
            assert refused(response, 422, "invalid_input")["field"] == name
        else:
            assert response.status_code in (200, 422)


@pytest.mark.parametrize(
    ("first", "last"), [("2026-01-02", "2026-01-01"), ("1990-01-01", "2026-01-01")]
)
def test_invalid_range(service: httpx.Client, holder: Holder, first: str, last: str) -> None:
    for path in READS[2:]:
        params = {"organization_id": holder.organization_id, "from": first, "to": last}
        assert refused(service.get(path, params=params), 422, "invalid_input")["field"] == "from"


@pytest.mark.parametrize(
    "limit",
    ["0", "-1", "201", "1.5", "1_0", "1.0", " 10", "+1", "", "x", "1" + "0" * 30, "1" * 5000],
)
def test_invalid_limit(service: httpx.Client, holder: Holder, limit: str) -> None:
    for path in PAGED:
        params = {"organization_id": holder.organization_id, "limit": limit}
        assert refused(service.get(path, params=params), 422, "invalid_input")["field"] == "limit"


def test_invalid_cursor(service: httpx.Client, holder: Holder, api_database_url: str) -> None:
    other = organization(api_database_url)
    foreign = [ids.encode(prefix, other.account_number, 1) for prefix in (ids.PLAN, ids.EVENT)]
    for path in ("/billing/plans/history", "/billing/usage/events"):
        for cursor in ("", "x", "evt_", "pln_x", "1", "\0", "c" * 65, *foreign):
            params = {"organization_id": holder.organization_id, "cursor": cursor}
            problem = refused(service.get(path, params=params), 422, "invalid_input")
            assert problem["field"] == "cursor"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group_by", "week"),
        ("kind", "x"),
        ("workflow", "w" * 256),
        ("workflow", "\0"),
        ("user_id", "\0"),
        ("organization_id", "\0"),
        ("organization_id", "o" * 256),
        ("account_id", ""),
    ],
)
def test_invalid_filter(service: httpx.Client, holder: Holder, name: str, value: str) -> None:
    takes = {
        "group_by": READS[2:3],
        "kind": READS[3:],
        "workflow": READS[3:],
    }
    for path in takes.get(name, READS):
        params = {"organization_id": holder.organization_id, name: value}
        assert refused(service.get(path, params=params), 422, "invalid_input")["field"] == name
