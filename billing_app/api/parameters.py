"""Parameter types shared by FastAPI routes: text, whole numbers and timestamps."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from annotated_types import Ge, Le
from fastapi import Path, Query
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from billing_app.billing.lists.paging import MAX_LIMIT

MAX_INT4: Final = 2**31 - 1
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9000
NO_CONTROL: Final = r"^[^\x00-\x1f\x7f]*$"
NO_NUL: Final = r"^[^\x00]*$"
# With a character that Python does not strip.
NOT_BLANK: Final = r"^[^\x00]*[^\s\x00\x1c-\x1f\x85][^\x00]*$"
_LINES: Final = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*"
# Not blank, and no control characters but tabs and line breaks.
REASON: Final = rf"^{_LINES}[^\s\x00-\x1f\x7f\x85]{_LINES}$"
_is_whole: Final = re.compile(r"-?[0-9]{1,18}").fullmatch


def _whole(value: object) -> object:
    """Reject `1_0`, `1.0` and spaces, which Pydantic would accept as numbers."""
    if isinstance(value, str) and not _is_whole(value):
        raise PydanticCustomError("int_parsing", "Input should be a whole number")
    return value


def _in_range(moment: datetime) -> datetime:
    """The moment in UTC. The calendar's first and last hours may not fit."""
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("moment", "Input is out of range") from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise PydanticCustomError("moment", "Input is out of range")
    return moment


WholeNumber = Annotated[int, BeforeValidator(_whole)]
PositiveInt4 = Annotated[int, Ge(1), Le(MAX_INT4), BeforeValidator(_whole)]
Limit = Annotated[
    WholeNumber,
    Query(
        description="Rows per page",
        json_schema_extra={"minimum": 1, "maximum": MAX_LIMIT},
    ),
]
NEXT_CURSOR: Final = "next_cursor of the previous page, of the same list and sort order"
Cursor = Annotated[str | None, Query(max_length=64, description=NEXT_CURSOR)]

Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]
# For names that are looked up as they are; encoded ids are validated when decoded.
PathName = Annotated[str, Path(pattern=NO_CONTROL)]
# JSON Schema has no words for the order of two moments.
IN_RANGE: Final = f"from the year {FIRST_YEAR} to {LAST_YEAR}"
OfferCode = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        pattern=NO_CONTROL,
        description="Code of an offer; an unknown one gets 422",
    ),
]
