"""Error responses of routes, as OpenAPI describes them."""

from typing import Any, Final

DESCRIPTIONS: Final = {
    400: "Invalid or outdated signature, or not an event",
    401: "Authentication required",
    402: "Payment required: not enough executions, or the card was declined",
    403: "Forbidden: belongs to another organization, or the key lacks a scope",
    404: "Not found",
    409: "Conflict with the current state",
    413: "The request body is larger than 1 MB",
    415: "The request body is not JSON in UTF-8",
    422: "Invalid input",
    502: "Stripe did not respond, or refused the request",
    503: "Cannot decide right now, retry with the same key; or payments are paused",
}
PROBLEM_TYPE: Final = "application/problem+json"


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for these statuses."""
    return {
        status: {"description": DESCRIPTIONS[status], "content": {PROBLEM_TYPE: {}}}
        for status in statuses
    }
