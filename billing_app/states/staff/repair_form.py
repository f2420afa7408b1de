"""Parses the form of a repair, field by field."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from typing import Any, Final, get_type_hints

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.staff.repairs.fields import Control, RepairForm, inputs_of, required_of
from billing_app.billing.staff.repairs.repair import ACCOUNT, Repair
from billing_app.billing.typed_numbers import typed_count

MAX_DIGITS: Final = 12
DIRECTION: Final = "direction"

Values = Mapping[str, str]


def target_of(repair: Repair[Any], account_id: str, values: Values) -> str:
    """The id of what is repaired: the account, or what the form names."""
    if repair.target is ACCOUNT:
        return account_id
    return values.get(repair.target.noun, "").strip()


def read_form(form: type[RepairForm], values: Values) -> RepairForm:
    """Empty fields that are not required keep their default. Raises InvalidInputError by name."""
    required, hints = required_of(form), get_type_hints(form)
    found: dict[str, Any] = {}
    for name, each in inputs_of(form).items():
        text = values.get(name, "").strip()
        if text or name in required:
            value = PARSERS[each.control](name, text, values)
            found[name] = hints[name](value) if _is_enum(hints[name], value) else value
    return form(**found)


def _is_enum(hint: Any, value: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Enum) and value in set(hint)


def _number(name: str, text: str, _: Values) -> int:
    count = typed_count(text, max_digits=MAX_DIGITS)
    if not count:
        raise InvalidInputError("Enter a whole number greater than 0.", field=name)
    return count


def _change(name: str, text: str, values: Values) -> int:
    count = _number(name, text, values)
    return -count if values.get(DIRECTION) == "fewer" else count


def _last_day(name: str, text: str, _: Values) -> datetime:
    """The end of the day, which counts in full."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise InvalidInputError("Enter a date as YYYY-MM-DD.", field=name) from None


def _moment(name: str, text: str, _: Values) -> datetime:
    """As the browser's field has it, in UTC."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInputError("Enter a date and a time.", field=name) from None


def _text(_: str, text: str, __: Values) -> str:
    return text


PARSERS: Final[dict[Control, Callable[[str, str, Values], Any]]] = {
    Control.NUMBER: _number,
    Control.CHANGE: _change,
    Control.LAST_DAY: _last_day,
    Control.MOMENT: _moment,
    Control.TEXT: _text,
    Control.CHOICE: _text,
}
