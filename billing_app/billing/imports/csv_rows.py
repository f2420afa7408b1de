"""Rows of a CSV file of accounts with their balances. Pure but for reading the file."""

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from billing_app.billing.accounts.names import checked_name
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.identity.sessions import clean_email
from billing_app.billing.offers.catalogue import MAX_OFFER_EXECUTIONS
from billing_app.db.enums import AccountKind

EXTERNAL_ID: Final = "external_id"
COLUMNS: Final = (
    EXTERNAL_ID,
    "kind",
    "name",
    "email",
    "executions",
    "used",
    "ends_at",
    "offer",
    "key",
)
DELIMITERS: Final = ",;\t|"
MAX_KEY_LENGTH: Final = 200
BYTE_ORDER_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """An account with a balance. `executions` None: the offer's; without an offer, no balance.
    `kind`: of an organization, or of a user of the public one. `key` tells several balances of one
    account apart."""

    line: int
    kind: AccountKind
    external_id: str
    name: str
    email: str
    executions: int | None
    used: int
    ends_at: datetime | None
    offer: str
    key: str

    @property
    def has_balance(self) -> bool:
        return self.executions is not None or self.offer != ""

    def fingerprint(self) -> bytes:
        """Of the balance. Stored ones are compared with it: keep it."""
        parts = (self.executions, self.used, self.ends_at, self.offer)
        return blake2b(msgspec.json.encode(parts), digest_size=16).digest()

    def identity(self) -> bytes:
        parts = f"{self.external_id}\0{self.key}\0{self.kind}"
        return blake2b(parts.encode(), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class BadRow:
    """`problem` is one line for the operator."""

    line: int
    problem: str


def count_lines(path: Path) -> int:
    """For a progress bar. Raises InvalidInputError."""
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from None


def read_rows(path: Path) -> Iterator[BalanceRow | BadRow]:
    """One row at a time; lines are counted from 1, the header's.

    Raises InvalidInputError when the file or its header cannot be read.
    """
    try:
        with path.open(encoding=_encoding(path), newline="") as file:
            header = file.readline()
            columns = _columns(header, delimiter := _delimiter(header))
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            seen: set[bytes] = set()
            for values in reader:
                if values:
                    yield _row(reader.line_num + 1, columns, values, seen)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeError:
        raise InvalidInputError(f"{path} is not UTF-8 text.") from None
    except csv.Error as error:
        raise InvalidInputError(f"{path} is not a valid CSV file: {error}.") from None


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    marks = (name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark))
    return next(marks, "utf-8")


def _delimiter(header: str) -> str:
    return max(DELIMITERS, key=header.count)


def _columns(header: str, delimiter: str) -> list[str]:
    names = [name for row in csv.reader([header], delimiter=delimiter) for name in row]
    columns = [name.strip().lower().replace(" ", "_").replace("-", "_") for name in names]
    if EXTERNAL_ID not in columns:
        raise InvalidInputError(f"The first line must name the columns, with {EXTERNAL_ID}.")
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise InvalidInputError(f"Unknown column {unknown[0]!r}. Columns are {', '.join(COLUMNS)}.")
    if len(set(columns)) < len(columns):
        raise InvalidInputError("The first line names a column twice.")
    return columns


def _row(line: int, columns: list[str], values: list[str], seen: set[bytes]) -> BalanceRow | BadRow:
    if len(values) != len(columns):
        return BadRow(line, f"has {len(values)} fields instead of {len(columns)}")
    fields = {name: value.strip() for name, value in zip(columns, values, strict=True)}
    if any("\0" in value for value in fields.values()):
        return BadRow(line, "contains a NUL character")
    try:
        row = _checked(line, fields)
    except InvalidInputError as error:
        return BadRow(line, str(error))
    if row.identity() in seen:
        return BadRow(line, "an earlier line has the same external_id, kind and key")
    seen.add(row.identity())
    return row


def _checked(line: int, fields: dict[str, str]) -> BalanceRow:
    name, email, key = (fields.get(column, "") for column in ("name", "email", "key"))
    if len(key) > MAX_KEY_LENGTH or (key and not key.isprintable()):
        raise InvalidInputError(f"key must have at most {MAX_KEY_LENGTH} printable characters")
    row = BalanceRow(
        line=line,
        kind=_kind(fields.get("kind", "")),
        external_id=fields[EXTERNAL_ID],
        name=checked_name(name) if name else "",
        email=clean_email(email) if email else "",
        executions=_count(fields, "executions"),
        used=_count(fields, "used") or 0,
        ends_at=_end(fields.get("ends_at", "")),
        offer=fields.get("offer", ""),
        key=key or "1",
    )
    if not row.external_id:
        raise InvalidInputError("external_id is empty")
    if not row.has_balance and (row.used or row.ends_at):
        raise InvalidInputError("used and ends_at need executions or an offer")
    if row.executions == 0:
        raise InvalidInputError("executions must be at least 1; leave it empty for no balance")
    return row


def _kind(text: str) -> AccountKind:
    kind = text.lower() or AccountKind.ORGANIZATION
    if kind not in set(AccountKind):
        raise InvalidInputError(f"kind must be organization or user, not {text!r}")
    return AccountKind(kind)


def _count(fields: dict[str, str], name: str) -> int | None:
    text = fields.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 13:
        raise InvalidInputError(f"{name} must be a whole number without separators, not {text!r}")
    count = int(text)
    if count > MAX_OFFER_EXECUTIONS:
        raise InvalidInputError(f"{name} must be at most {MAX_OFFER_EXECUTIONS}")
    return count


def _end(text: str) -> datetime | None:
    """A date lasts through its day, in UTC."""
    if not text:
        return None
    try:
        if len(text) == len("2026-01-31"):
            day = date.fromisoformat(text)
            ends_at = datetime.combine(day + timedelta(days=1), time(), UTC)
        else:
            ends_at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"ends_at must be a date such as 2026-12-31 or a time with its zone, not {text!r}"
        ) from None
    if ends_at.tzinfo is None:
        raise InvalidInputError(f"ends_at needs a time zone, such as {text}Z")
    return ends_at.astimezone(UTC)
