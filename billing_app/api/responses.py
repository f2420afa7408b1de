"""The errors that a route may answer with, in the words of OpenAPI."""

from typing import Any, Final

WORDS: Final = {
    400: "Not signed by Stripe, signed too long ago, or no event",
    401: "No identity",
    402: "Payment needed: not enough executions, or the card was declined",
    403: "Not yours",
    404: "Unknown",
    409: "State conflict",
    413: "Body over 1 MB",
    415: "Not JSON in UTF-8",
    422: "Bad input",
    502: "Stripe did not answer, or refused",
    503: "Cannot decide",
}
PROBLEM_TYPE: Final = "application/problem+json"


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What `responses` of a route says of these statuses."""
    return {
        status: {"description": WORDS[status], "content": {PROBLEM_TYPE: {}}} for status in statuses
    }
