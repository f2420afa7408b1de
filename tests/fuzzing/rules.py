"""What is a fault in an answer, beside what schemathesis checks."""

import re
from collections.abc import Iterator
from typing import Any, Final

from schemathesis import Case
from schemathesis.checks import load_all_checks
from schemathesis.core.transport import Response
from schemathesis.specs.openapi import checks

from tests.fuzzing.scene import FuzzCaller

load_all_checks()
CHECKS: Final[list[Any]] = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
PROBLEM: Final = "application/problem+json"
UNPROCESSABLE: Final = 422
BATCH: Final = "/billing/plans/check-executions/batch"
# JSON Schema has no words for these: they join two values, or a value and what is there. The
# document must say them in the operation's own text, on the right; without it the refusal of what
# the schemas allow is a fault.
STATED: Final = {
    # Any text is a cursor for a schema; only what a page gave is one for us.
    r"Invalid cursor": "next_cursor of the previous page",
    # Either of two query parameters.
    r"organization_id is required\.": "Required without account_id",
    r"user_id is required for the public": "Required for the public organization",
    r"must not be after|The first day must|A range can have": "`from` must not be after `to`",
    r"The start must be before the end": "before `until`, which is later",
    r"Input is out of range": "from the year 1970 to 9000",
    # What exists, or what another object allows.
    r"Idempotency-Key already used": "the same key with another (body|request) gets 422",
    r"requires an Idempotency-Key": "Required for modes consume and reserve",
    r"Offer .* does not exist": "an unknown one gets 422",
    r"Revision \d+ does not exist": "one that exists",
    r"cannot (change|move) to a pack": "is no pack",
    r"Only a pack can be bought": "which is a pack",
    r"The cap must be at least": "at least the price of the pack",
    r"The cap is in": "a pack in another one is refused",
    r"must start with http": "starts with PUBLIC_URL",
    r"the reservation holds": "At most what was held",
    r"the event used": "[Aa]t most what the (execution|event) used",
    r"Enter executions, a new end date": "one of them is needed",
    r"The end date must be": "within the next 3,660 days",
    r"Search for at most \d+ words": "At most \\d+ words",
    # Dialects differ in what could say this.
    r"not a valid email address": "`=\\?`",
    # Of an organization or a user that a service makes.
    r"must not contain control characters": "No control characters",
    r"This ID cannot be used": "must not look like a generated one",
    r"A name must have a visible character": "a character that can be seen",
    r"is neither free nor has a trial": "A free offer, or one with a trial",
    r"an Idempotency-Key: a retry": "The key is required",
    r"starts_at must be within": "Within 3,660 days",
    r"ends_at must be in the future": "In the future, after starts_at",
    r"return_url must start with an origin": "Starts with an origin of PORTAL_RETURN_ORIGINS",
    # The terms of an offer, by its interval and currency.
    r"A soft limit requires": "Soft: not of a pack, and with overage_unit_price_minor",
    r"trial_days must be from 0 to 0": "Of a pack: 0",
    r"Only a subscription can have": "Soft: not of a pack",
    r"Only a pack can expire": "Of a pack only",
    r"must be multiples of": "a multiple of 10 or 100",
}


def faults_of(case: Case, response: Response, caller: FuzzCaller) -> Iterator[tuple[str, str]]:
    """Kind and detail of each fault."""
    status = response.status_code
    answer = f"{status} {response.text[:300]}"
    if status >= 500:
        yield "server error", answer
    if status >= 400:
        yield from _faults_of_problem(response)
    security = _schemes(case)
    if status == 401 and caller.shows & security:
        yield "good credential refused", answer
    if status < 400 and security and not caller.shows & security:
        yield "answered to nobody", answer
    assert case.meta is not None
    is_positive = case.meta.generation.mode.is_positive
    if status == UNPROCESSABLE and is_positive and not _is_stated(case, response):
        yield "valid request refused", answer


def checks_of(case: Case, response: Response) -> list[Any]:
    """What schemathesis is to check."""
    if case.path == BATCH and response.status_code == 200 and '"status":422' in response.text:
        return CHECKS  # each item is refused on its own
    return [*CHECKS, checks.negative_data_rejection]


def _schemes(case: Case) -> frozenset[str]:
    return frozenset(
        name for either in case.operation.definition.raw.get("security", []) for name in either
    )


def _faults_of_problem(response: Response) -> Iterator[tuple[str, str]]:
    if response.headers.get("content-type", [""])[0] != PROBLEM:
        yield "error is no problem document", response.text[:300]
        return
    problem = response.json()
    if problem["status"] != response.status_code or not problem["type"].endswith(problem["code"]):
        yield "problem contradicts itself", response.text[:300]


def _is_stated(case: Case, response: Response) -> bool:
    problem = response.json()
    told = f"{problem['title']} {problem['detail']}"
    text = text_of(case.operation.schema.raw_schema, case.operation.definition.raw)
    return any(
        re.search(refusal, told) and re.search(statement, text)
        for refusal, statement in STATED.items()
    )


def text_of(document: dict[str, Any], operation: dict[str, Any]) -> str:
    """What the operation says of its request, with the schemas that it names."""
    asked = {name: part for name, part in operation.items() if name != "responses"}
    text = " ".join(_texts(document, asked, frozenset()))
    return re.sub(r"\s+", " ", text)


def _texts(document: dict[str, Any], part: Any, seen: frozenset[str]) -> Iterator[str]:
    if isinstance(part, list):
        for each in part:
            yield from _texts(document, each, seen)
    elif isinstance(part, dict):
        name = part.get("$ref", "").rpartition("/")[2]
        if name and name not in seen:
            yield from _texts(document, document["components"]["schemas"][name], seen | {name})
        yield from (
            part[key] for key in ("summary", "description") if isinstance(part.get(key), str)
        )
        for each in part.values():
            yield from _texts(document, each, seen)


def plain_numbers(value: Any) -> Any:
    """Whole numbers without a decimal point: JSON Schema calls 2.0 an integer, and this API, like
    most parsers of typed languages, does not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [plain_numbers(each) for each in value]
    if isinstance(value, dict):
        return {name: plain_numbers(each) for name, each in value.items()}
    return value
