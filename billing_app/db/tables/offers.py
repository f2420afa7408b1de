"""The plan catalogue: offers in immutable versions."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Identity, UniqueConstraint
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant, one_of
from billing_app.db.enums import Interval, Overage
from billing_app.db.tables.plans import QUEUE_PRIORITY


class Offer(SQLModel, table=True):
    """An entry of the catalogue. It can be bought once it has a version and is not archived.

    `published_revision` is the draft revision of the newest version; 0: it had no draft.
    """

    __tablename__ = "offers"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (UniqueConstraint("code"),)

    id: int | None = Field(
        default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)]
    )
    code: str = Field(max_length=64)
    position: int = 0
    visible: bool = True
    published_revision: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    archived_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant()


class OfferVersion(SQLModel, table=True):
    """The terms of an offer. Immutable: a new price is a new version.

    A pack's plan ends after `valid_days` (None: never). Plans are used in the order of their
    `priority`. With `overage` soft, executions beyond the plan cost `overage_unit_price_minor`
    for each `overage_unit_executions` begun, up to `overage_limit_executions` in a period.
    """

    __tablename__ = "offer_versions"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        UniqueConstraint("offer_id", "version"),
        one_of("interval", Interval),
        one_of("overage", Overage),
        CheckConstraint("executions > 0", name="executions_positive"),
        CheckConstraint("price_minor >= 0", name="price_not_negative"),
        CheckConstraint("trial_days >= 0", name="trial_days_not_negative"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_iso"),
        CheckConstraint(
            "(overage = 'soft') = (overage_unit_price_minor IS NOT NULL)",
            name="unit_price_when_soft",
        ),
        CheckConstraint("overage_unit_executions > 0", name="overage_unit_positive"),
        CheckConstraint("overage_limit_executions > 0", name="overage_limit_positive"),
        CheckConstraint("valid_days > 0", name="valid_days_positive"),
    )

    id: int | None = Field(
        default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)]
    )
    offer_id: int = Field(foreign_key="offers.id", sa_type=BigInteger)
    version: int
    name: str = Field(max_length=255)
    description: str = ""
    executions: int = Field(sa_type=BigInteger)
    price_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    interval: str
    trial_days: int = 0
    overage: str
    overage_unit_price_minor: int | None = Field(default=None, sa_type=BigInteger)
    overage_unit_executions: int = Field(
        default=1, sa_type=BigInteger, sa_column_kwargs={"server_default": "1"}
    )
    overage_limit_executions: int | None = Field(default=None, sa_type=BigInteger)
    valid_days: int | None = None
    priority: int = Field(default=QUEUE_PRIORITY, sa_column_kwargs={"server_default": "100"})
    created_at: datetime = instant()


class OfferDraft(SQLModel, table=True):
    """The draft of an offer's next version: a row for each edit, the newest is current.

    Older rows show what someone else changed while a person was editing.
    """

    __tablename__ = "offer_drafts"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("interval", Interval),
        one_of("overage", Overage),
        CheckConstraint("executions > 0", name="executions_positive"),
        CheckConstraint("price_minor >= 0", name="price_not_negative"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_iso"),
        CheckConstraint(
            "(overage = 'soft') = (overage_unit_price_minor IS NOT NULL)",
            name="unit_price_when_soft",
        ),
    )

    offer_id: int = Field(primary_key=True, foreign_key="offers.id", sa_type=BigInteger)
    revision: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    name: str = Field(max_length=255)
    description: str = ""
    executions: int = Field(sa_type=BigInteger)
    price_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    interval: str
    trial_days: int
    overage: str
    overage_unit_price_minor: int | None = Field(default=None, sa_type=BigInteger)
    overage_unit_executions: int = Field(sa_type=BigInteger)
    overage_limit_executions: int | None = Field(default=None, sa_type=BigInteger)
    valid_days: int | None = None
    priority: int
    position: int
    visible: bool
    edited_by: str = Field(max_length=255)
    edited_by_name: str = Field(max_length=255)
    edited_at: datetime = instant()
