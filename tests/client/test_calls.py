"""What both clients do against a real API process."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_app.client import (
    Billing,
    CheckAnswer,
    CheckItem,
    ConflictError,
    DeniedError,
    ForbiddenError,
    InvalidRequestError,
    NextExecutions,
    NotAuthenticatedError,
    NotFoundError,
    ProblemError,
)
from billing_app.db.enums import Scope
from tests.api.server import ApiServer
from tests.client.driven import Driven
from tests.factories import Holder, api_key, connect, organization


def test_consume_counts_once_per_key(driven: Driven, holder: Holder) -> None:
    org = holder.organization_id
    first = driven.consume(org, executions=3, workflow="triage", idempotency_key="k")
    assert (first.allowed, first.mode, first.executions_used) == (True, "consume", 3)
    assert driven.consume(org, executions=3, workflow="triage", idempotency_key="k") == first
    assert driven.consume(org, executions=3).executions_used == 6


def test_check_counts_nothing(driven: Driven, holder: Holder) -> None:
    assert driven.check(holder.organization_id, executions=100).executions_used == 0


def test_denial_has_figures(driven: Driven, holder: Holder) -> None:
    with pytest.raises(DeniedError) as raised:
        driven.consume(holder.organization_id, executions=101)
    denied = raised.value
    assert denied.code == "insufficient_executions"
    assert (denied.executions_remaining, denied.executions_requested) == (100, 101)
    assert (denied.upgrade_url or "").startswith("http://billing.test")
    assert denied.period_end is None
    assert denied.problem.title
    assert denied.problem.next_executions is None
    assert denied.next_executions is None


def test_denial_says_what_comes_next(
    driven: Driven, holder: Holder, client_database_url: str
) -> None:
    starts_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    with connect(client_database_url) as connection:
        connection.execute(
            "INSERT INTO plans (account_id, sequence, type, name, source, executions, used, held,"
            " starts_at, created_at) VALUES (%s, 9, 'paid', 'Later', 'contract', 70, 0, 0, %s,"
            " now())",
            [holder.account_number, starts_at],
        )
    org = holder.organization_id
    with pytest.raises(DeniedError) as raised:
        driven.reserve(org, executions=101)
    (in_batch,) = driven.batch([CheckItem(organization_id=org, executions=101, mode="consume")])
    assert isinstance(in_batch, DeniedError)
    for denied in (raised.value, in_batch):
        assert denied.next_executions == NextExecutions(starts_at, 70, "Later", "plan")
    assert driven.current_plan(org).next_executions == denied.next_executions


def test_account_without_plan_is_denied(driven: Driven, client_database_url: str) -> None:
    with pytest.raises(DeniedError) as raised:
        driven.consume(organization(client_database_url).organization_id)
    assert raised.value.code == "plan_not_found"


def test_reservation_is_committed_in_part(driven: Driven, holder: Holder) -> None:
    held = driven.reserve(holder.organization_id, executions=10, hold_seconds=60)
    assert held.reservation.expires_at < datetime.now(UTC) + timedelta(seconds=61)
    settled = driven.commit(held.reservation.id, 4)
    assert (settled.executions, settled.executions_released) == (4, 6)
    with pytest.raises(ConflictError) as raised:
        driven.release(held.reservation.id)
    assert raised.value.code == "reservation_settled"


def test_refund_and_receipt(driven: Driven, holder: Holder) -> None:
    event_id = driven.consume(holder.organization_id, executions=5, workflow="w").event_id
    refunded = driven.refund(event_id, "It failed", 2)
    assert (refunded.refund_of, refunded.executions) == (event_id, 2)
    assert driven.refund(event_id, "It failed", 2).executions_refundable == 1
    receipt = driven.receipt(event_id)
    assert (receipt.workflow, receipt.executions_refunded) == ("w", 4)
    assert [part.executions for part in receipt.parts] == [5]
    assert len(receipt.refunds) == 2


def test_batch_decides_each_item(driven: Driven, holder: Holder) -> None:
    org = holder.organization_id
    counted, denied, invalid, missing = driven.batch(
        [
            CheckItem(organization_id=org, executions=60, mode="consume"),
            CheckItem(organization_id=org, executions=60, mode="consume"),
            CheckItem(organization_id=org, executions=0, mode="consume"),
            CheckItem(organization_id="org_nobody", mode="check"),
        ]
    )
    assert isinstance(counted, CheckAnswer)
    assert counted.executions_remaining == 40
    assert isinstance(denied, DeniedError)
    assert denied.executions_remaining == 40
    assert isinstance(invalid, InvalidRequestError)
    assert invalid.problem.field == "executions"
    assert isinstance(missing, NotFoundError)


def test_batch_takes_more_than_one_request_may_hold(driven: Driven, holder: Holder) -> None:
    item = CheckItem(organization_id=holder.organization_id, mode="check")
    results = driven.batch([item] * 1001)
    assert [isinstance(each, CheckAnswer) for each in results] == [True] * 1001
    assert driven.batch([]) == []


def test_lists_are_iterated_over_all_pages(driven: Driven, holder: Holder) -> None:
    org = holder.organization_id
    for number in range(5):
        driven.consume(org, executions=number + 1, idempotency_key=f"{number}")
    page = driven.usage_events(org, limit=2)
    assert [event.executions for event in page.items] == [5, 4]
    rest = driven.usage_events(org, limit=2, cursor=page.next_cursor)
    assert [event.executions for event in rest.items] == [3, 2]
    events = driven.each_usage_event(org, limit=2, kind="consume")
    assert [event.idempotency_key for event in events] == ["4", "3", "2", "1", "0"]
    assert [plan.name for plan in driven.each_plan(org, limit=1)] == ["Plan 1"]
    assert driven.each_account_action(org) == []


def test_usage_and_export(driven: Driven, holder: Holder) -> None:
    org = holder.organization_id
    driven.consume(org, executions=7, workflow="a", user_id="ann")
    today = datetime.now(UTC).date()
    usage = driven.usage(org, first=today - timedelta(days=1), last=today, group_by="workflow")
    assert (usage.first, usage.last) == (today - timedelta(days=1), today)
    assert [(row.workflow, row.net, row.day) for row in usage.items] == [("a", 7, None)]
    assert usage.totals.net == 7
    text = "".join(driven.export_usage(org, separator="tab"))
    assert [line.split("\t")[3] for line in text.splitlines()] == ["executions", "7"]
    with pytest.raises(InvalidRequestError):
        driven.export_usage(org, first=today, last=today - timedelta(days=1))


def test_current_plan(driven: Driven, holder: Holder) -> None:
    current = driven.current_plan(holder.organization_id)
    assert current.plan.remaining == current.executions_remaining == 100
    assert current.next_executions is None
    assert driven.current_plan(account_id=holder.account_id) == current


def test_limits_and_top_ups(driven: Driven, holder: Holder) -> None:
    org = holder.organization_id
    limit = driven.set_overage_limit(org, limit_minor=500, currency="USD")
    assert (limit.limit_minor, limit.currency) == (500, "USD")
    assert driven.overage_limit(org) == limit
    assert driven.top_up(org).top_up is None
    assert driven.switch_off_top_up(org) is None
    assert driven.current_subscription(org).subscription is None
    assert driven.offers().items == []


@pytest.mark.parametrize("event_id", ["..", ".", "../plans", "a/b", "ä?x=1#y", " "])
def test_ids_never_lead_to_another_route(billing: Billing, event_id: str) -> None:
    with pytest.raises(NotFoundError):
        billing.receipt(event_id)


@pytest.mark.parametrize("bad", ["", "x" * 256, "a\nb", "ä", " a", "\ud800"])
def test_keys_that_no_header_can_hold_are_refused(billing: Billing, bad: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        billing.consume("acme", idempotency_key=bad)
    with pytest.raises(ValueError, match="printable ASCII"), billing.run("a", idempotency_key=bad):
        pass


def test_wrong_keys(server: ApiServer, client_database_url: str, holder: Holder) -> None:
    with Billing(server.url, "bil_wrong") as client, pytest.raises(NotAuthenticatedError):
        client.consume(holder.organization_id)
    reader = api_key(client_database_url, Scope.PLANS_READ)
    with Billing(server.url, reader) as client, pytest.raises(ForbiddenError) as raised:
        client.consume(holder.organization_id)
    assert raised.value.problem.scope == "executions"


def test_same_key_for_another_request_is_refused(driven: Driven, holder: Holder) -> None:
    driven.consume(holder.organization_id, idempotency_key="same")
    with pytest.raises(ProblemError) as raised:
        driven.consume(holder.organization_id, executions=2, idempotency_key="same")
    assert raised.value.code == "idempotency_key_reused"


@pytest.mark.parametrize("url", ["", "billing.example", "ftp://x", "http://"])
def test_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Billing(url, "key")


@pytest.mark.parametrize("bad", ["", "bil_x\n", "bil x", "b\u00e4l"])
def test_key_that_is_none_is_refused_and_not_printed(bad: str) -> None:
    with pytest.raises(ValueError, match="API key") as raised:
        Billing("http://x", bad)
    assert "bil" not in str(raised.value)


def test_unknown_outage_policy() -> None:
    with pytest.raises(ValueError, match="deny"):
        Billing("http://x", "key", outage="allow")  # pyright: ignore[reportArgumentType]
