"""Column shapes that every table shares."""

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
    """A point in time: aware, kept as `timestamptz`."""
    if nullable:
        return Field(default=None, sa_type=DateTime(timezone=True), nullable=True)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]
    return Field(sa_type=DateTime(timezone=True), nullable=False)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """The column holds one of the enum's words; text, so that a new word needs no rewrite."""
    words = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({words})", name=f"{column}_known")


def by_day(table: str, column: str, operators: str) -> Index:
    """Says which blocks may have a day's rows; it is as small as it is because they stand
    together, and an update never touches it."""
    return Index(
        f"ix_{table}_{column}",
        "account_id",
        column,
        postgresql_using="brin",
        postgresql_ops={column: operators},
        postgresql_with={"pages_per_range": 64, "autosummarize": "on"},
    )
