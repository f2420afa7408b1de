"""Operations as Hypothesis draws them, as requests to the service, and as calls of the model."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import strategies as st

from billing_app.billing.executions.requests import Commit, Mode, Refund, Release, Request
from billing_app.billing.staff.audit.audit_reading import EntryView
from tests.billing.model import ModelAccount, Outcome
from tests.factories import PLATFORM, Holder, check_request

HOLD = timedelta(seconds=900)
NOWHERE = 2**40


@dataclass
class Tenant:
    """One account: its model, and the service's ids for the model's reservations and events."""

    holder: Holder
    model: ModelAccount
    reservations: list[int] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    repairs: list["Repair"] = field(default_factory=list)
    is_touched: bool = True


@dataclass(frozen=True)
class Repair:
    """A repair that can be undone: its audit entry and its index among the model's events."""

    entry: EntryView
    index: int


@dataclass(frozen=True)
class Operation:
    kind: str
    tenant: int
    executions: int | None
    key: str = ""
    body: str = ""
    index: int = 0


tenants = st.integers(0, 1)
few = st.integers(1, 6)
indexes = st.integers(0, 5)
check_operations = st.builds(
    Operation,
    kind=st.sampled_from(["consume", "consume", "reserve", "check"]),
    tenant=tenants,
    executions=few,
    key=st.sampled_from("abcdefghijkl"),
    body=st.sampled_from(["", "", "", "other"]),
)
followers = st.builds(
    Operation,
    kind=st.sampled_from(["commit", "commit", "release", "refund", "refund"]),
    tenant=tenants,
    executions=st.none() | few,
    key=st.sampled_from(["", "", "a", "z"]),
    body=st.sampled_from(["wrong", "late"]),
    index=indexes,
)
operations = st.one_of(check_operations, check_operations, followers)


def request_of(operation: Operation, tenant: Tenant) -> Request:
    """The request to the service."""
    account = tenant.holder.account_number
    if operation.kind in {"consume", "reserve", "check"}:
        assert operation.executions is not None
        return check_request(
            Mode(operation.kind),
            operation.executions,
            operation.key,
            organization_id=tenant.holder.organization_id,
            workflow=operation.body,
        )
    made = tenant.events if operation.kind == "refund" else tenant.reservations
    number = made[operation.index] if operation.index < len(made) else NOWHERE
    if operation.kind == "commit":
        return Commit(account, number, operation.executions, PLATFORM)
    if operation.kind == "release":
        return Release(account, number, PLATFORM)
    return Refund(account, number, operation.executions, operation.body, operation.key, PLATFORM)


def expected_of(
    operation: Operation, model: ModelAccount, known: tuple[int, int], now: datetime
) -> Outcome:
    """The model's answer; `known`: how many reservations and events may be named."""
    executions, key, body = operation.executions, operation.key, operation.body
    reservations, events = known
    if operation.kind == "refund":
        index = operation.index if operation.index < events else NOWHERE
        return model.refund(index, executions, key, body, now)
    if operation.kind in {"commit", "release"}:
        index = operation.index if operation.index < reservations else NOWHERE
        return model.settle(index, executions, operation.kind, now)
    assert executions is not None
    if operation.kind == "check":
        return model.check(executions, now)
    if operation.kind == "reserve":
        return model.reserve(executions, key, body, HOLD, now)
    return model.consume(executions, key, body, now)
