"""Staff see that nothing is written to Stripe, and what the operator has to do."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from billing_app import routes
from billing_app.db.enums import StaffRole
from tests.factories import connect
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.test_staff_forms import open_as

BELONGS = """
INSERT INTO provider_identity (id, is_live, mark, database_oid, adopted_at)
SELECT 1, false, '', oid, now() FROM pg_database WHERE datname = current_database()
ON CONFLICT DO NOTHING
"""
MOVE = "UPDATE provider_identity SET database_oid = database_oid + %s"


@pytest.fixture
def copied_app(running_app: RunningApp) -> Iterator[RunningApp]:
    with connect(running_app.database_url) as connection:
        connection.execute(BELONGS)
        connection.execute(MOVE, [1])
    yield running_app
    with connect(running_app.database_url) as connection:
        connection.execute(MOVE, [-1])


def test_copy_is_announced_to_staff(open_context: OpenContext, copied_app: RunningApp) -> None:
    page, _, _ = open_as(open_context, copied_app, routes.STAFF_OPERATIONS, StaffRole.SUPPORT)
    notice = page.locator(".notice", has_text="Nothing is written to Stripe")
    expect(notice).to_contain_text("python -m billing_app adopt")
    with connect(copied_app.database_url) as connection:
        connection.execute(MOVE, [-1])
    expect(notice).to_have_count(0)
    with connect(copied_app.database_url) as connection:
        connection.execute(MOVE, [1])
