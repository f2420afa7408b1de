"""Request bodies of the hot routes: structs that msgspec validates while parsing."""

import json
import re
from typing import Annotated, Any, Final

import msgspec
import msgspec.structs
from msgspec import Meta

from billing_app.api.problems import MalformedJsonError
from billing_app.api.routing import no_constant
from billing_app.api.unknown_members import unknown_member
from billing_app.billing.errors import (
    BillingError,
    IdempotencyKeyRequiredError,
    InvalidInputError,
)
from billing_app.billing.executions.requests import (
    CHECK as MODE_CHECK,
)
from billing_app.billing.executions.requests import (
    DEFAULT_HOLD_SECONDS,
    MAX_EXECUTIONS,
    MAX_HOLD_SECONDS,
    Caller,
    CheckRequest,
    Mode,
)

MAX_KEY_LENGTH: Final = 255
MAX_ITEMS: Final = 1000

# `$` alone would let a last line break pass; `\Z` is unknown to OpenAPI's dialect.
_PRINTABLE: Final = r"^[^\x00-\x1f\x7f\ud800-\udfff]*$(?!\n)"
# At least one visible character.
_NOT_BLANK: Final = r"^(?=.*\S)" + _PRINTABLE.removeprefix("^")
# The same for JSON Schema, whose `$` is the very end, and which knows no halves of characters.
PUBLISHED: Final = {
    _PRINTABLE: r"^[^\x00-\x1f\x7f]*$",
    _NOT_BLANK: r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f\x85][^\x00-\x1f\x7f]*$",
}
HAS_CONTROL: Final = "must not contain control characters"
SAYS_NOTHING: Final = "must not be blank or contain control characters"
HALF_CHARACTER: Final = "The text contains an unpaired surrogate (half of a character)."
_is_printable: Final = re.compile(_PRINTABLE).match
_missing_field: Final = re.compile(r"Object missing required field `(\w+)`").fullmatch
_unknown_field: Final = re.compile(
    r"Object contains unknown field `(.*?)`(?: - at `\$.*)?", re.DOTALL
).fullmatch

Identifier = Annotated[str, Meta(min_length=1, max_length=255, pattern=_PRINTABLE)]
Label = Annotated[str, Meta(max_length=255, pattern=_PRINTABLE)]
Executions = Annotated[int, Meta(ge=1, le=MAX_EXECUTIONS)]
HoldSeconds = Annotated[int, Meta(ge=1, le=MAX_HOLD_SECONDS)]
UserId = Annotated[
    Identifier | None, Meta(description="Required for the public organization; else attribution")
]
HoldTime = Annotated[
    HoldSeconds | None,
    Meta(description=f"Mode reserve: lifetime of the reservation, {DEFAULT_HOLD_SECONDS} if null"),
]


class CheckExecutions(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    organization_id: Identifier
    user_id: UserId = None
    executions: Executions = 1
    mode: Mode = Mode.CHECK
    workflow: Label | None = None
    hold_seconds: HoldTime = None


class CheckItem(CheckExecutions, gc=False, forbid_unknown_fields=True):
    # check_key enforces the bounds: mode check ignores the key.
    idempotency_key: (
        Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_KEY_LENGTH})] | None
    ) = None


class CheckBatch(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    items: Annotated[list[CheckItem], Meta(min_length=1, max_length=MAX_ITEMS)]


class UncheckedBatch(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A batch with an invalid item: each item is then validated on its own."""

    items: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_ITEMS)]


class CommitReservation(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    executions: Annotated[
        Executions | None,
        Meta(description="At most what was held; the rest is released. All of it if null"),
    ] = None


class RefundExecutions(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=_NOT_BLANK)]
    executions: Annotated[
        Executions | None,
        Meta(description="At most what the execution used. All that is left of it if null"),
    ] = None


CHECK: Final = msgspec.json.Decoder(CheckExecutions)
CHECK_ITEM: Final = msgspec.json.Decoder(CheckItem)
CHECK_BATCH: Final = msgspec.json.Decoder(CheckBatch)
UNCHECKED_BATCH: Final = msgspec.json.Decoder(UncheckedBatch)
COMMIT: Final = msgspec.json.Decoder(CommitReservation)
REFUND: Final = msgspec.json.Decoder(RefundExecutions)


def check_request(
    body: CheckExecutions, key: str | None, caller: Caller, public_organization_id: str
) -> CheckRequest:
    """The request to decide; `key` has passed header_key or check_key.

    Raises IdempotencyKeyRequiredError, InvalidInputError.
    """
    if body.mode is MODE_CHECK:
        key = ""
    elif not key:
        raise _no_key(body.mode) if key is None else invalid_key()
    if body.user_id is None and body.organization_id == public_organization_id:
        raise InvalidInputError("user_id is required for the public organization.", field="user_id")
    return CheckRequest(
        body.mode,
        body.organization_id,
        body.user_id or "",
        body.executions,
        body.workflow or "",
        body.hold_seconds or DEFAULT_HOLD_SECONDS,
        key,
        caller,
    )


def item_of(
    item: CheckItem | msgspec.Raw, caller: Caller, public_organization_id: str
) -> CheckRequest | BillingError:
    """One item of a batch, or its error; the other items are unaffected."""
    try:
        body = decode(CHECK_ITEM, item) if isinstance(item, msgspec.Raw) else item
        key = body.idempotency_key
        if key is not None and body.mode is not MODE_CHECK:
            check_key(key)
        return check_request(body, key, caller, public_organization_id)
    except BillingError as error:
        return error


def decode(decoder: "msgspec.json.Decoder[Any]", body: bytes | msgspec.Raw) -> Any:
    """Raises MalformedJsonError, InvalidInputError."""
    try:
        if isinstance(body, bytes) and not body.isascii():
            body.decode()
        return _decode_known(decoder, body)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except msgspec.DecodeError as error:
        if _parsed(body) is not None:
            raise InvalidInputError(HALF_CHARACTER) from None
        raise MalformedJsonError(f"The body is not valid JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise MalformedJsonError(f"The body is not valid JSON: {error}") from None
    except RecursionError:
        raise MalformedJsonError("The body is nested too deeply.") from None


def _decode_known(decoder: "msgspec.json.Decoder[Any]", body: bytes | msgspec.Raw) -> Any:
    """Raises what `decoder` raises, and InvalidInputError for an unknown member of a body that is
    JSON throughout."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        unknown = _unknown_field(str(error))
        if unknown is None:
            raise
        msgspec.json.decode(body)
        raise unknown_member(unknown[1], _members_of(decoder)) from None


def _members_of(decoder: "msgspec.json.Decoder[Any]") -> list[str]:
    return [field.name for field in msgspec.structs.fields(decoder.type)]


def decode_each(body: bytes) -> UncheckedBatch:
    """Read a batch with an invalid item. Raises MalformedJsonError, InvalidInputError."""
    try:
        return decode(UNCHECKED_BATCH, body)
    except InvalidInputError:
        parsed = _parsed(body)
        items = parsed["items"] if isinstance(parsed, dict) and set(parsed) == {"items"} else None
        if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
            raise
        return UncheckedBatch([msgspec.Raw(json.dumps(item).encode()) for item in items])


def _parsed(body: bytes | msgspec.Raw) -> Any:
    """The body as `json` reads it, or None when it is not JSON.

    JSON can spell unpaired surrogates; `json` accepts them and msgspec does not.
    """
    try:
        return json.loads(bytes(body).decode(), parse_constant=no_constant)
    except (ValueError, RecursionError):
        return None


def header_key(value: bytes) -> str:
    """The header as text; an empty one stays empty, for routes that need no key.

    Raises InvalidInputError.
    """
    try:
        return check_key(value.decode()) if value else ""
    except UnicodeDecodeError:
        raise invalid_key() from None


def check_key(key: str) -> str:
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not _is_printable(key):
        raise invalid_key()
    return key


def invalid(error: msgspec.ValidationError) -> InvalidInputError:
    """Turn msgspec's `Expected int - at `$.executions`` into a detail and a field."""
    message, _, place = str(error).partition(" - at `$")
    if " matching regex " in message:
        message = SAYS_NOTHING if repr(_NOT_BLANK) in message else HAS_CONTROL
    missing = _missing_field(message)
    if missing:
        return InvalidInputError(f"{missing[1]} is required.", field=missing[1])
    field = place.strip("`.").removesuffix("`")
    detail = f"{field}: {message}" if field else message
    return InvalidInputError(detail, field=field or None)


def _no_key(mode: Mode) -> IdempotencyKeyRequiredError:
    return IdempotencyKeyRequiredError(
        f"Mode {mode} requires an Idempotency-Key of 1 to {MAX_KEY_LENGTH} characters."
    )


def invalid_key() -> InvalidInputError:
    """The error for a key that is empty, too long or not printable."""
    return InvalidInputError(
        f"Idempotency-Key must have 1 to {MAX_KEY_LENGTH} printable characters.",
        field="idempotency_key",
    )
