"""What requests carry: bodies and query strings, named as in the HTTP contract.

None and defaults are left out; the server fills them in.
"""

from datetime import date, datetime
from typing import Literal, TypeAlias

import msgspec

Mode: TypeAlias = Literal["check", "consume", "reserve"]
When: TypeAlias = Literal["now", "period_end"]
EventKind: TypeAlias = Literal["consume", "commit", "refund", "adjustment"]
GroupBy: TypeAlias = Literal["day", "workflow", "user"]
Separator: TypeAlias = Literal["comma", "semicolon", "tab"]
PortalRole: TypeAlias = Literal["owner", "billing_admin", "member"]
PortalPage: TypeAlias = Literal["dashboard", "plans", "usage"]


class CheckExecutions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    organization_id: str
    user_id: str | None = None
    executions: int = 1
    mode: Mode = "check"
    workflow: str | None = None
    hold_seconds: int | None = None


class CheckItem(CheckExecutions, frozen=True, kw_only=True, omit_defaults=True):
    """One item of a batch. Without a key, one is made for consume and reserve."""

    idempotency_key: str | None = None


class CheckBatch(msgspec.Struct, frozen=True):
    items: list[CheckItem]


class CommitReservation(msgspec.Struct, frozen=True, omit_defaults=True):
    executions: int | None = None


class RefundExecutions(msgspec.Struct, frozen=True, omit_defaults=True):
    reason: str
    executions: int | None = None


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    organization_id: str
    offer: str
    user_id: str | None = None
    success_url: str | None = None
    cancel_url: str | None = None


class ChangeOffer(msgspec.Struct, frozen=True):
    offer: str
    when: When = "now"


class OpenPortal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    organization_id: str
    return_url: str
    user_id: str | None = None


class SetOverageLimit(msgspec.Struct, frozen=True):
    limit_minor: int | None
    currency: str


class SwitchOnTopUp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    offer: str
    threshold_executions: int
    monthly_cap_minor: int
    currency: str | None = None


class AccountQuery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The account that is read: by organization (and public user), or by its own id."""

    organization_id: str | None = None
    user_id: str | None = None
    account_id: str | None = None


class PageQuery(AccountQuery, frozen=True, kw_only=True, omit_defaults=True):
    limit: int | None = None
    cursor: str | None = None


class UsageQuery(
    AccountQuery,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"first": "from", "last": "to"},
):
    """UTC days, inclusive."""

    first: date | None = None
    last: date | None = None
    group_by: GroupBy = "day"


class EventsQuery(
    PageQuery,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"first": "from", "last": "to"},
):
    kind: EventKind | None = None
    workflow: str | None = None
    first: date | None = None
    last: date | None = None


class ExportQuery(
    AccountQuery,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"first": "from", "last": "to"},
):
    kind: EventKind | None = None
    workflow: str | None = None
    first: date | None = None
    last: date | None = None
    separator: Separator = "comma"
    byte_order_mark: bool = False


class CancelQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    when: When = "period_end"


class PutAccount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`billing_email` None removes it; UNSET leaves it as it is."""

    billing_email: str | msgspec.UnsetType | None = msgspec.UNSET
    offer: str | None = None
    metadata: dict[str, str] | None = None


class PutOrganization(PutAccount, frozen=True, kw_only=True, omit_defaults=True):
    name: str


class PutUser(PutAccount, frozen=True, kw_only=True, omit_defaults=True):
    name: str | None = None


class ListQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    limit: int | None = None
    cursor: str | None = None


class GrantPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    organization_id: str
    executions: int
    user_id: str | None = None
    name: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    priority: int | None = None
    reason: str | None = None


class Person(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody of the product, under the product's id."""

    id: str
    email: str | None = None
    name: str | None = None


class CreatePortalLink(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    organization_id: str
    person: Person
    role: PortalRole
    return_url: str
    user_id: str | None = None
    page: PortalPage = "dashboard"
    expires_in_seconds: int | None = None
