"""The API's routes: the function and parameters for each method and path, and pages of lists."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from billing_app.stripe_sandbox.contract.params import BadParamError, read_params
from billing_app.stripe_sandbox.contract.sdk import params_class
from billing_app.stripe_sandbox.errors import Json, StripeError
from billing_app.stripe_sandbox.world import World

Handler = Callable[..., Json]
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Route:
    """One call of the API; `params` names a TypedDict of `stripe.params`."""

    method: str
    path: str
    params: str | None
    handler: Handler
    pattern: re.Pattern[str]


ROUTES: list[Route] = []
_ALIKE: dict[tuple[str, int], list[Route]] = {}  # by method and number of slashes


def route(method: str, path: str, params: str | None = None) -> Callable[[Handler], Handler]:
    """Registers a handler `(world, params, *path parameters) -> object`.

    `params` names the TypedDict in `stripe.params`; None allows no parameter but `expand`.
    """

    def register(handler: Handler) -> Handler:
        pattern = re.compile(_PARAMETER.sub(r"([^/]+)", path) + r"\Z")
        entry = Route(method, path, params, handler, pattern)
        ROUTES.append(entry)
        alike = _ALIKE.setdefault((method, path.count("/")), [])
        alike.append(entry)
        alike.sort(key=lambda other: other.path.count("{"))
        return handler

    return register


def find_route(method: str, path: str) -> tuple[Route, tuple[str, ...]]:
    """The route and its path parameters. Raises Stripe's 404 for an unknown address."""
    for entry in _ALIKE.get((method, path.count("/")), ()):
        if match := entry.pattern.match(path):
            return entry, match.groups()
    raise StripeError(
        404,
        "invalid_request_error",
        f"Unrecognized request URL ({method}: {path}). The sandbox may not know this call.",
    )


def read(world: World, entry: Route, data: Json) -> Json:
    """The typed parameters. A refusal counts as a violation: the caller broke the contract."""
    try:
        if entry.params is None:
            return _only_expand(data)
        return read_params(params_class(entry.params), data)
    except BadParamError as error:
        where = f"request {entry.method} {entry.path}"
        world.violations.append({"where": where, "problem": error.message})
        raise StripeError(
            400,
            "invalid_request_error",
            error.message,
            code=error.code or None,
            param=error.param or None,
        ) from error


def _only_expand(data: Json) -> Json:
    for name in data:
        if name != "expand":
            message = f"Received unknown parameter: {name}"
            raise BadParamError("parameter_unknown", name, message)
    return data


def _matches_created(created: int, condition: Any) -> bool:
    if not isinstance(condition, dict):
        return created == condition
    tests = {
        "gt": created.__gt__,
        "gte": created.__ge__,
        "lt": created.__lt__,
        "lte": created.__le__,
    }
    return all(tests[name](bound) for name, bound in condition.items())


def page(params: Json, objects: Iterable[Json], url: str) -> Json:
    """One page, newest first, by Stripe's cursors; `objects` are given oldest first."""
    rows = [row for row in objects if not row.get("_deleted")]
    if "created" in params:
        rows = [row for row in rows if _matches_created(row["created"], params["created"])]
    rows.reverse()
    return cut_page(params, rows, url)


def cut_page(params: Json, rows: list[Json], url: str) -> Json:
    """One page of rows that are already in the order of the list."""
    limit = params.get("limit", 10)
    if not 1 <= limit <= 100:
        message = "This value must be between 1 and 100."
        raise StripeError(400, "invalid_request_error", message, param="limit")
    positions = {row["id"]: index for index, row in enumerate(rows)}
    if "starting_after" in params:
        start = _position(positions, params, "starting_after") + 1
        chosen, more = rows[start : start + limit], len(rows) > start + limit
    elif "ending_before" in params:
        end = _position(positions, params, "ending_before")
        chosen, more = rows[max(0, end - limit) : end], end > limit
    else:
        chosen, more = rows[:limit], len(rows) > limit
    return {"object": "list", "data": chosen, "has_more": more, "url": url}


def _position(positions: dict[str, int], params: Json, name: str) -> int:
    identifier = params[name]
    if identifier not in positions:
        message = f"No such object: '{identifier}'"
        raise StripeError(
            400, "invalid_request_error", message, param=name, code="resource_missing"
        )
    return positions[identifier]
