"""What the server answers about accounts that a product makes; see answers.py."""

from datetime import datetime

import msgspec


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """`offer`: the free one or the trial that it began with."""

    organization_id: str
    account_id: str
    name: str
    billing_email: str | None
    offer: str | None
    metadata: dict[str, str]
    created_at: datetime
    closed_at: datetime | None


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person of the public organization."""

    user_id: str
    account_id: str
    name: str
    billing_email: str | None
    offer: str | None
    metadata: dict[str, str]
    created_at: datetime


class GrantedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """As it was added."""

    id: str
    account_id: str
    type: str
    name: str
    executions: int
    starts_at: datetime
    ends_at: datetime | None
    priority: int
    reason: str
    created_at: datetime


class PortalLink(msgspec.Struct, frozen=True):
    """`url` works once, until `expires_at`."""

    url: str
    expires_at: datetime
