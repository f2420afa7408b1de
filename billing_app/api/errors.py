"""Makes FastAPI return every error as a problem document."""

from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from billing_app.api.bodies import HALF_CHARACTER, HAS_CONTROL
from billing_app.api.body_limit import TOO_LARGE, TOO_SLOW
from billing_app.api.parameters import NO_CONTROL
from billing_app.api.problems import (
    CONTENT_TYPE,
    BodyTimeoutError,
    BodyTooLargeError,
    ContentTypeError,
    MalformedJsonError,
    MethodNotAllowedError,
    RouteNotFoundError,
    UnexpectedError,
    encode_problem,
    retry_after_seconds,
    status_of,
)
from billing_app.api.unknown_members import unknown_member
from billing_app.billing.errors import BillingError, CannotDecideError, InvalidInputError
from billing_app.billing.identity.api_keys import UNREACHABLE
from billing_app.composition import get_services
from billing_app.routes import UPGRADE

METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")
# Invalid UTF-8, numbers with thousands of digits, nesting that is too deep.
UNREADABLE: Final = (ValueError, RecursionError)

log = structlog.get_logger(__name__)


def install(api: FastAPI) -> None:
    handlers: dict[type[Exception], Any] = {
        BillingError: _billing_error,
        RequestValidationError: _validation_error,
        HTTPException: _http_exception,
        UnicodeEncodeError: _unpaired_surrogate,
        ClientDisconnect: _cut,
        **dict.fromkeys(UNREACHABLE, _database_error),
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def problem_response(error: BillingError, allow: str | None = None) -> Response:
    headers: dict[str, str] = {} if allow is None else {"Allow": allow}
    seconds = retry_after_seconds(error)
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
    if status_of(error) == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = encode_problem(error, get_services().settings.public_url + UPGRADE)
    return Response(body, status_of(error), headers, CONTENT_TYPE)


async def _billing_error(_: Request, error: BillingError) -> Response:
    return problem_response(error)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    errors = error.errors()
    unknown = [each for each in errors if each["type"] == "extra_forbidden"]
    if unknown:
        name = str(unknown[0]["loc"][-1])
        return problem_response(unknown_member(name, _members_of(request)))
    first = errors[0]
    if first["type"] == "json_invalid":
        return problem_response(
            MalformedJsonError(f"The body is not valid JSON: {first['ctx']['error']}")
        )
    if first["loc"] == ("body",) and first["type"] != "missing" and not _is_json(request):
        return problem_response(ContentTypeError())
    field = str(first["loc"][-1])
    reason = HAS_CONTROL if _is_about_control(first) else first["msg"]
    return problem_response(InvalidInputError(f"{field}: {reason}", field=field))


def _members_of(request: Request) -> list[str]:
    """What the body of the route knows."""
    params = request.scope["route"].dependant.body_params
    models = [param.field_info.annotation for param in params]
    return [name for model in models for name in getattr(model, "model_fields", {})]


def _is_about_control(error: dict[str, Any]) -> bool:
    is_pattern = error["type"] == "string_pattern_mismatch"
    return is_pattern and error["ctx"]["pattern"] == NO_CONTROL


async def _cut(request: Request, _: ClientDisconnect) -> Response:
    """The caller left before its body had arrived; nobody reads the answer."""
    log.warning("request_cut", path=request.url.path[:255])
    return problem_response(MalformedJsonError("The request body is incomplete."))


async def _unpaired_surrogate(_: Request, __: UnicodeEncodeError) -> Response:
    """JSON can spell unpaired surrogates, which UTF-8 text cannot contain."""
    return problem_response(InvalidInputError(HALF_CHARACTER))


def _is_json(request: Request) -> bool:
    content_type = request.headers.get("content-type", "")
    return content_type.split(";", 1)[0].strip().lower() == "application/json"


def _methods_of(request: Request) -> list[str]:
    """All methods that any route accepts at this path."""
    routes = request.app.router.routes
    methods = [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes
        )
    ]
    return sorted([*methods, "HEAD"]) if "GET" in methods else methods


async def _http_exception(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:
        return problem_response(RouteNotFoundError(f"No route matches {request.url.path}."))
    if error.status_code == TOO_LARGE:
        return problem_response(BodyTooLargeError())
    if error.status_code == TOO_SLOW:
        return problem_response(BodyTimeoutError())
    if error.status_code == 405:
        return problem_response(MethodNotAllowedError(), ", ".join(_methods_of(request)))
    return problem_response(_caught(error, is_json=_is_json(request)))


def _caught(error: HTTPException, *, is_json: bool) -> BillingError:
    """The error that FastAPI caught while reading a body, or its own message."""
    if isinstance(error.__cause__, BillingError):
        return error.__cause__
    if isinstance(error.__cause__, UNREADABLE) and is_json:
        return MalformedJsonError("The body is not readable JSON.")
    return InvalidInputError(str(error.detail)) if error.status_code < 500 else UnexpectedError()


async def _database_error(request: Request, error: SQLAlchemyError) -> Response:
    cause = getattr(error, "orig", None) or error
    log.warning("database_unavailable", path=request.url.path, error=str(cause))
    return problem_response(CannotDecideError("The database is unreachable. Try again."))


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return problem_response(UnexpectedError())
