"""Maps errors to HTTP statuses and RFC 9457 problem documents, in this one place."""

from http import HTTPStatus
from typing import Any, Final

import msgspec

from billing_app.billing import errors
from billing_app.billing.errors import BillingError
from billing_app.billing.staff.operations.jobs import JobsUnavailableError
from billing_app.billing.subscriptions import provider_errors
from billing_app.billing.subscriptions.errors import PaymentActionRequiredError
from billing_app.billing.subscriptions.installation import ProviderNotAdoptedError
from billing_app.payments.signatures import ForeignEventError, SignatureError

CONTENT_TYPE: Final = "application/problem+json"
TYPE_BASE: Final = "/billing/problems/"

STATUSES: Final[dict[type[BillingError], int]] = {
    errors.InvalidInputError: 422,
    errors.NotAuthenticatedError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.PlanNotFoundError: 404,
    errors.ConflictError: 409,
    errors.DeniedError: 402,
    errors.TooManyAttemptsError: 429,
    errors.CannotDecideError: 503,
    JobsUnavailableError: 503,
    provider_errors.PaymentDeclinedError: 402,
    PaymentActionRequiredError: 402,
    provider_errors.PaymentProviderUnavailableError: 502,
    provider_errors.PaymentProviderFailedError: 502,
    provider_errors.NotAtProviderError: 502,
    provider_errors.ProviderKeyConflictError: 409,
    provider_errors.BillingAddressMissingError: 409,
    ProviderNotAdoptedError: 503,
    SignatureError: 400,
    ForeignEventError: 400,
}
_encoder: Final = msgspec.json.Encoder()


class ContentTypeError(BillingError):
    code = "unsupported_media_type"
    title = "The request body must be application/json"


class MalformedJsonError(BillingError):
    code = "malformed_json"
    title = "The request body is not valid JSON"


class BodyTooLargeError(BillingError):
    code = "body_too_large"
    title = "The request body is larger than 1 MB"


class BodyTimeoutError(BillingError):
    code = "body_timeout"
    title = "The request body took too long to arrive"


class OverloadedError(BillingError):
    """Nothing was decided or changed."""

    code = "overloaded"
    title = "Too many requests at a time"
    retry_after_seconds = 1


class RouteNotFoundError(BillingError):
    code = "route_not_found"
    title = "No such route"


class MethodNotAllowedError(BillingError):
    code = "method_not_allowed"
    title = "Method not allowed"


class UnexpectedError(BillingError):
    code = "unexpected"
    title = "Internal server error"


EDGE_STATUSES: Final[dict[type[BillingError], int]] = {
    ContentTypeError: 415,
    MalformedJsonError: 422,
    BodyTooLargeError: 413,
    BodyTimeoutError: 408,
    OverloadedError: 503,
    RouteNotFoundError: 404,
    MethodNotAllowedError: 405,
    UnexpectedError: 500,
}


def status_of(error: BillingError) -> int:
    """The HTTP status of the nearest class that has one; 500 when none has."""
    return _status_of_kind(type(error))


def _status_of_kind(error: type[BillingError]) -> int:
    for kind in error.__mro__:
        status = STATUSES.get(kind) or EDGE_STATUSES.get(kind)
        if status is not None:
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def retry_after_seconds(error: BillingError) -> int | None:
    seconds = getattr(error, "retry_after_seconds", None)
    return seconds if isinstance(seconds, int) else None


def problem_of(error: BillingError, upgrade_url: str) -> dict[str, Any]:
    """The problem document; denials include `upgrade_url`."""
    document: dict[str, Any] = {
        "type": TYPE_BASE + error.code,
        "title": error.title,
        "status": status_of(error),
        "detail": error.detail,
        "code": error.code,
        **error.extensions,
    }
    if isinstance(error, errors.DeniedError):
        document["upgrade_url"] = upgrade_url
    return document


def encode_problem(error: BillingError, upgrade_url: str) -> bytes:
    return _encoder.encode(problem_of(error, upgrade_url))


def error_codes() -> set[tuple[int, str, str]]:
    """Status, code and title of every error that this process knows."""
    return {(_status_of_kind(kind), kind.code, kind.title) for kind in kinds(BillingError)}


def kinds(base: type[BillingError]) -> list[type[BillingError]]:
    return [base, *(found for kind in base.__subclasses__() for found in kinds(kind))]
