"""Adds the hot routes to FastAPI's OpenAPI document, from the structs they parse."""

from typing import Any, Final

import msgspec
from fastapi import FastAPI

from billing_app.api import bodies
from billing_app.api.parameters import NO_NUL
from billing_app.api.problems import error_codes
from billing_app.api.published_schemas import KEY_SCHEMA
from billing_app.api.responses import PROBLEM_TYPE, problems
from billing_app.billing.executions.requests import CheckAnswer, RefundAnswer, SettleAnswer
from billing_app.billing.subscriptions.next_executions import NextExecutions
from billing_app.routes import API_PREFIX, CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH

REFERENCE: Final = "#/components/schemas/{name}"
KEY_HEADER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A retry with the same key and body gets the first response and counts once; the"
    " same key with another body gets 422. Required for modes consume and reserve",
    "schema": {"type": "string", "maxLength": bodies.MAX_KEY_LENGTH, **KEY_SCHEMA},
}
PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
    },
}
PROBLEM_CONTENT: Final = {PROBLEM_TYPE: {"schema": {"$ref": REFERENCE.format(name="Problem")}}}
COMMIT: Final = "/billing/reservations/{id}/commit"
REFUND: Final = "/billing/executions/{event_id}/refund"
HOT_STATUSES: Final = (401, 402, 403, 404, 409, 413, 415, 422, 503)
WHO_STATUSES: Final = (401, 403, 404)
READING: Final = "get"


def install(api: FastAPI) -> None:
    describe_rest = api.openapi

    def describe() -> dict[str, Any]:
        document = describe_rest()
        if CHECK_EXECUTIONS not in document["paths"]:
            _add_problems(document)
            _add_hot_routes(document)
        return document

    api.openapi = describe


def _add_problems(document: dict[str, Any]) -> None:
    """Replace FastAPI's own error schemas, which this API never returns."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            responses = operation["responses"]
            responses.pop("422", None)
            for parameter in operation.get("parameters", []):
                parameter["schema"] = _sendable(parameter["schema"])
            _summarize(operation)
            if path.startswith(f"{API_PREFIX}/"):
                for status, response in problems(*_statuses(path, method, operation)).items():
                    responses.setdefault(str(status), response)
            operation["responses"] = dict(sorted(responses.items()))
            for response in responses.values():
                if PROBLEM_TYPE in response.get("content", {}):
                    response["content"] = PROBLEM_CONTENT
    for name in ("HTTPValidationError", "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(name, None)


def _sendable(schema: dict[str, Any]) -> dict[str, Any]:
    """What a parameter can be: left out instead of FastAPI's null, and text without NUL."""
    others = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    if len(others) == 1:
        schema = others[0] | {name: value for name, value in schema.items() if name != "anyOf"}
    if schema.get("type") == "string" and "enum" not in schema:
        schema.setdefault("pattern", NO_NUL)
    return schema


def _summarize(operation: dict[str, Any]) -> None:
    """The docstring's first sentence is the summary; FastAPI would take the function's name."""
    first, *others = operation.get("description", "").replace("\n", " ").split(". ", 1)
    operation["summary"] = first.removesuffix(".") or operation["summary"]
    if not others:
        operation.pop("description", None)


def _statuses(path: str, method: str, operation: dict[str, Any]) -> list[int]:
    """Error statuses of any such route, in addition to those it declares."""
    statuses = [422, 503]
    if "security" in operation:
        statuses += WHO_STATUSES
    elif "{" in path:
        statuses.append(404)
    if method != READING:
        statuses.append(415)
    if "requestBody" in operation:
        statuses.append(413)
    return sorted(statuses)


def _add_hot_routes(document: dict[str, Any]) -> None:
    types = (
        bodies.CheckExecutions,
        bodies.CheckItem,
        bodies.CommitReservation,
        bodies.RefundExecutions,
        CheckAnswer,
        SettleAnswer,
        RefundAnswer,
        NextExecutions,
    )
    _, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    components = document.setdefault("components", {})
    for schema in schemas.values():
        _publish_patterns(schema)
    components.setdefault("schemas", {}).update(schemas | {"Problem": _problem()})
    item, result = _ref("CheckItem"), {"oneOf": [_ref("CheckAnswer"), _ref("Problem")]}
    bounds = {"minItems": 1, "maxItems": bodies.MAX_ITEMS}
    batch = _object(items={"type": "array", "items": item, **bounds})
    results = _object(results={"type": "array", "items": result})
    document["paths"] |= {
        CHECK_EXECUTIONS: _post(
            "Check, consume or reserve executions",
            _ref("CheckExecutions"),
            _ref("CheckAnswer"),
            takes_key=True,
        ),
        CHECK_EXECUTIONS_BATCH: _post(
            "Check, consume or reserve for up to 1,000 items, each on its own", batch, results
        ),
        COMMIT: _post(
            "Commit a reservation, in whole or in part",
            _ref("CommitReservation"),
            _ref("SettleAnswer"),
            "id",
        ),
        "/billing/reservations/{id}/release": _post(
            "Release a reservation", None, _ref("SettleAnswer"), "id"
        ),
        REFUND: _post(
            "Refund an execution, in whole or in part",
            _ref("RefundExecutions"),
            _ref("RefundAnswer"),
            "event_id",
            takes_key=True,
        ),
    }
    # Without a body the whole reservation is committed.
    document["paths"][COMMIT]["post"]["requestBody"]["required"] = False


def _post(
    summary: str,
    body: dict[str, Any] | None,
    answer: dict[str, Any],
    path_name: str = "",
    *,
    takes_key: bool = False,
) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [KEY_HEADER] if takes_key else []
    if path_name:
        schema = {"type": "string"}
        parameters.append({"name": path_name, "in": "path", "required": True, "schema": schema})
    operation: dict[str, Any] = {
        "summary": summary,
        "tags": ["executions"],
        "security": [{"key": []}],
        "parameters": parameters,
        "responses": {
            "200": {"description": "Success", "content": {"application/json": {"schema": answer}}},
            **{
                str(status): {**response, "content": PROBLEM_CONTENT}
                for status, response in problems(*HOT_STATUSES).items()
            },
        },
    }
    if body is not None:
        content = {"application/json": {"schema": body}}
        operation["requestBody"] = {"required": True, "content": content}
    return {"post": operation}


def _problem() -> dict[str, Any]:
    """With every code that the API knows."""
    codes = sorted({code for _, code, _ in error_codes()})
    comes_next = {
        "anyOf": [_ref("NextExecutions"), {"type": "null"}],
        "description": "Of a denial: what comes by itself; null: nothing does. Missing when the"
        " database did not say in time, and in other errors",
    }
    more = {"code": {"enum": codes}, "next_executions": comes_next}
    return PROBLEM | {"properties": PROBLEM["properties"] | more}


def _publish_patterns(schema: Any) -> None:
    """Put patterns that every dialect knows in the place of Python's."""
    if isinstance(schema, list):
        for each in schema:
            _publish_patterns(each)
    elif isinstance(schema, dict):
        if schema.get("pattern") in bodies.PUBLISHED:
            schema["pattern"] = bodies.PUBLISHED[schema["pattern"]]
        for each in schema.values():
            _publish_patterns(each)


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": REFERENCE.format(name=name)}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    closed = {"type": "object", "additionalProperties": False}
    return closed | {"required": list(properties), "properties": properties}
