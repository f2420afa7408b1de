"""Provisioned accounts, as services read them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import select as select_rows
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.lists.sorting import INSTANT, NUMBER, By, Key, Sorting, rows_of
from billing_app.db.enums import AccountKind
from billing_app.db.tables import (
    Account,
    AccountProfile,
    BillingDetails,
    Offer,
    OfferVersion,
    Organization,
    User,
)

SHOWN: Final = (
    col(BillingDetails.email),
    col(AccountProfile.own_metadata),
    col(Offer.code),
    col(AccountProfile.closed_at),
)


class OrganizationSort(StrEnum):
    CREATED = "created"


SORTING: Final = Sorting(
    {OrganizationSort.CREATED: Key(col(Account.created_at), INSTANT)},
    ties=(Key(col(Account.id), NUMBER),),
    usual=By(OrganizationSort.CREATED, descending=True),
)


@dataclass(frozen=True, slots=True)
class OrganizationView:
    """`offer`: the free offer or the trial that it began with."""

    organization_id: str
    account_id: str
    name: str
    billing_email: str | None
    offer: str | None
    metadata: dict[str, str]
    created_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class UserView:
    """A person of the public organization."""

    user_id: str
    account_id: str
    name: str
    billing_email: str | None
    offer: str | None
    metadata: dict[str, str]
    created_at: datetime


async def organization_account(
    session: AsyncSession, organization_id: str, *, lock: bool = False
) -> Account | None:
    query = select(Account).where(Account.organization_id == organization_id)
    query = query.where(Account.kind == AccountKind.ORGANIZATION)
    return (await session.exec(query.with_for_update() if lock else query)).first()


async def user_account(
    session: AsyncSession, user_id: str, *, lock: bool = False
) -> Account | None:
    query = select(Account).where(Account.user_id == user_id, Account.kind == AccountKind.USER)
    return (await session.exec(query.with_for_update() if lock else query)).first()


def _with_profile(query: Any) -> Any:
    return (
        query.outerjoin(BillingDetails, col(BillingDetails.account_id) == col(Account.id))
        .outerjoin(AccountProfile, col(AccountProfile.account_id) == col(Account.id))
        .outerjoin(OfferVersion, col(OfferVersion.id) == col(AccountProfile.offer_version_id))
        .outerjoin(Offer, col(Offer.id) == col(OfferVersion.offer_id))
    )


def organizations() -> Any:
    """A select of what `organization_of` reads."""
    joined: Any = select_rows(Account, col(Organization.name), *SHOWN)
    joined = joined.join(Organization, col(Organization.id) == col(Account.organization_id))
    return _with_profile(joined).where(col(Account.kind) == AccountKind.ORGANIZATION)


def organization_of(row: Any) -> OrganizationView:
    account, name, email, metadata, offer, closed_at = row[:6]
    return OrganizationView(
        organization_id=account.organization_id,
        account_id=ids.encode_account(account.id),
        name=name,
        billing_email=email,
        offer=offer,
        metadata=metadata or {},
        created_at=account.created_at,
        closed_at=closed_at,
    )


async def organization_view(session: AsyncSession, account_id: int) -> OrganizationView:
    query = organizations().where(col(Account.id) == account_id)
    (row,) = await rows_of(session, query)
    return organization_of(row)


async def user_view(session: AsyncSession, account_id: int) -> UserView:
    joined: Any = select_rows(Account, col(User.name), *SHOWN)
    joined = joined.join(User, col(User.id) == col(Account.user_id))
    query = _with_profile(joined).where(col(Account.id) == account_id)
    (row,) = await rows_of(session, query)
    account, name, email, metadata, offer = row[:5]
    return UserView(
        user_id=account.user_id,
        account_id=ids.encode_account(account.id),
        name=name,
        billing_email=email,
        offer=offer,
        metadata=metadata or {},
        created_at=account.created_at,
    )
