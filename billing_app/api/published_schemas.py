"""What OpenAPI tells of values that the billing service checks itself, in words of its own."""

from typing import Any, Final

from pydantic import Field

from billing_app.billing.currencies import CURRENCIES

# ASCII, as HTTP has it in header fields; spaces around a field are no part of it.
KEY_SCHEMA: Final[dict[str, Any]] = {"minLength": 1, "pattern": "^[!-~]([ -~]*[!-~])?$"}
CURRENCY: Final = Field(json_schema_extra={"enum": [*sorted(CURRENCIES)]})


def number(least: int, most: int, description: str | None = None) -> Any:
    """For an integer from `least` to `most`."""
    schema: dict[str, Any] = {"minimum": least, "maximum": most}
    return Field(description=description, json_schema_extra=schema)


def text(most: int, *, pattern: str = "", least: int = 0) -> Any:
    """For a text of `least` to `most` characters."""
    schema: dict[str, Any] = {"maxLength": most}
    schema |= {"minLength": least} if least else {}
    return Field(json_schema_extra=schema | ({"pattern": pattern} if pattern else {}))
