"""Column types, constraints and indexes that tables share."""

from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, Index, MetaData
from sqlmodel import Field, SQLModel

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata.naming_convention = MetaData(
    naming_convention=NAMING_CONVENTION
).naming_convention


def instant(*, nullable: bool = False) -> Any:
    """A point in time: aware, stored as `timestamptz`."""
    if nullable:
        return Field(default=None, sa_type=DateTime(timezone=True), nullable=True)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]
    return Field(sa_type=DateTime(timezone=True), nullable=False)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """The column holds a value of the enum; it is text, so a new value needs no table rewrite."""
    literals = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({literals})", name=f"{column}_known")


def by_day(table: str, column: str, operators: str) -> Index:
    """A BRIN index that finds the blocks with a day's rows. It is small because those rows are
    stored together, and updates never change it."""
    return Index(
        f"ix_{table}_{column}",
        "account_id",
        column,
        postgresql_using="brin",
        postgresql_ops={column: operators},
        postgresql_with={"pages_per_range": 64, "autosummarize": "on"},
    )
