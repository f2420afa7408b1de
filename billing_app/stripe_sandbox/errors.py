"""Stripe's error object, raised by the domain and answered by the HTTP layer."""

from typing import Any

Json = dict[str, Any]


class StripeError(Exception):
    """An error that Stripe answers with.

    `keep` names the objects that stay although the request fails, such as a declined charge.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        keep: frozenset[str] = frozenset(),
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.keep = status, keep
        self.error: Json = {"type": kind, "message": message}
        self.error |= {name: value for name, value in fields.items() if value is not None}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> StripeError:
    return StripeError(400, "invalid_request_error", message, param=param, code=code)


def missing_param(param: str) -> StripeError:
    return invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")


def no_such(name: str, identifier: str, param: str = "id") -> StripeError:
    """404 if the URL names the object, 400 if a parameter does."""
    return StripeError(
        404 if param == "id" else 400,
        "invalid_request_error",
        f"No such {name.replace('_', ' ').split('.')[-1]}: '{identifier}'",
        code="resource_missing",
        param=param,
    )


def check_url(value: str | None, param: str) -> None:
    """Refuses anything but a web address, since pages link to it."""
    if value and not value.startswith(("http://", "https://")):
        message = "Invalid URL: an explicit scheme must be provided."
        raise invalid(message, param=param, code="url_invalid")


def wrong_state(message: str, code: str) -> StripeError:
    return StripeError(400, "invalid_request_error", message, code=code)
