"""What a service keeps with an account: metadata, and the offer that it began with."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.errors import AccountClosedError, InvalidInputError
from billing_app.db.tables import AccountProfile

MAX_METADATA: Final = 50
MAX_METADATA_KEY: Final = 40
MAX_METADATA_VALUE: Final = 500


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raises InvalidInputError."""
    if len(metadata) > MAX_METADATA:
        raise InvalidInputError(
            f"metadata can have at most {MAX_METADATA} members.", field="metadata"
        )
    for key, value in metadata.items():
        if not 1 <= len(key) <= MAX_METADATA_KEY or len(value) > MAX_METADATA_VALUE:
            raise InvalidInputError(
                f"metadata: names have 1 to {MAX_METADATA_KEY} characters, values at most"
                f" {MAX_METADATA_VALUE}.",
                field="metadata",
            )
        if "\0" in key + value:
            raise InvalidInputError("metadata must not contain a NUL character.", field="metadata")


async def require_not_closed(session: AsyncSession, account_id: int) -> None:
    """Raises AccountClosedError."""
    profile = await session.get(AccountProfile, account_id)
    if profile is not None and profile.closed_at is not None:
        raise AccountClosedError


async def lock_profile(session: AsyncSession, account_id: int) -> AccountProfile:
    """The account's profile, made when there was none; locked until the transaction ends."""
    made = insert(AccountProfile).values(account_id=account_id).on_conflict_do_nothing()
    await (await session.connection()).execute(made)
    query = select(AccountProfile).where(AccountProfile.account_id == account_id)
    return (await session.exec(query.with_for_update())).one()
