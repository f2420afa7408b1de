"""A product makes its organizations and users through both clients."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_app.billing import ids
from billing_app.client import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    Person,
)
from tests.client.driven import Driven


@pytest.fixture
def own() -> str:
    return ids.new_id("acme/north.")


def test_organization_is_made_updated_and_closed(driven: Driven, own: str) -> None:
    made = driven.put_organization(
        own, "Acme", billing_email="money@acme.test", metadata={"team": "7"}
    )
    assert (made.organization_id, made.billing_email) == (own, "money@acme.test")
    assert driven.put_organization(own, "Acme").billing_email == "money@acme.test"
    renamed = driven.put_organization(own, "Acme North", billing_email=None)
    assert (renamed.name, renamed.billing_email, renamed.metadata) == (
        "Acme North",
        None,
        {"team": "7"},
    )
    assert driven.organization(own) == renamed
    closed = driven.close_organization(own)
    assert closed.closed_at is not None
    assert driven.close_organization(own) == closed
    with pytest.raises(ConflictError) as raised:
        driven.put_organization(own, "Acme")
    assert raised.value.code == "account_closed"


def test_organizations_come_page_after_page(driven: Driven, own: str) -> None:
    names = [f"{own}{number}" for number in range(3)]
    for name in names:
        driven.put_organization(name, "Acme")
    page = driven.organizations(limit=2)
    assert len(page.items) == 2
    assert page.next_cursor is not None
    listed = [each.organization_id for each in driven.each_organization(limit=2)]
    assert [each for each in listed if each in names] == names[::-1]
    assert len(listed) == len(set(listed))


def test_user_is_made_and_read(driven: Driven, own: str) -> None:
    made = driven.put_user(own, name="Ada")
    assert (made.user_id, made.name) == (own, "Ada")
    assert driven.put_user(own) == made
    assert driven.user(own) == made
    with pytest.raises(NotFoundError):
        driven.user(f"{own}-nobody")


def test_plan_is_added_once_per_key(driven: Driven, own: str) -> None:
    driven.put_organization(own, "Acme")
    starts_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    added = driven.grant_plan(
        own, 70, name="Bought", starts_at=starts_at, reason="Order 5", idempotency_key="order-5"
    )
    assert (added.executions, added.name, added.starts_at) == (70, "Bought", starts_at)
    again = driven.grant_plan(
        own, 70, name="Bought", starts_at=starts_at, reason="Order 5", idempotency_key="order-5"
    )
    assert again == added
    assert driven.current_plan(own).next_executions.executions == 70
    driven.grant_plan(own, 5)
    assert driven.consume(own, executions=5).executions_remaining == 0


def test_portal_link_needs_an_allowed_return_address(driven: Driven, own: str) -> None:
    driven.put_organization(own, "Acme")
    with pytest.raises(InvalidRequestError) as raised:
        driven.create_portal_link(own, Person("ada"), "owner", "https://elsewhere.test/")
    assert raised.value.problem.field == "return_url"
    link = driven.create_portal_link(
        own, Person("ada", name="Ada"), "member", "https://product.test/settings", page="usage"
    )
    assert link.expires_at > datetime.now(UTC)
    assert "/billing/portal-links/" in link.url
