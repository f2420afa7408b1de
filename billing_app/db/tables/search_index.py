"""The search index of accounts: words of their names, addresses and ids."""

from sqlalchemy import BigInteger, Index, String
from sqlmodel import Field, SQLModel


class SearchWord(SQLModel, table=True):
    """A word of an account, folded by `search_fold`; written only by the triggers of
    `alembic/versions/0007_staff_search.py`, which say what is indexed.

    An organization's account also has the words of its members.
    """

    __tablename__ = "search_words"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("ix_search_words_word", "word", "account_id"),)

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    word: str = Field(primary_key=True, sa_type=String(collation="C"))  # pyright: ignore[reportArgumentType, reportCallIssue]
