"""The reads that services poll, in plain ASGI and msgspec, in front of their FastAPI routes.

What is not a plain question of a known key about a known account goes on to FastAPI, which words
every refusal. Here only a database that does not answer is one: it would not answer FastAPI either.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from billing_app.api.errors import problem_response
from billing_app.api.plans import encode_current
from billing_app.api.usage import days_of, encode_usage
from billing_app.billing.actors import ServiceActor
from billing_app.billing.errors import BillingError, CannotDecideError
from billing_app.billing.identity.api_keys import UNREACHABLE
from billing_app.billing.usage.kept_days import days_kept_from
from billing_app.billing.usage.service import GroupBy
from billing_app.composition import Services
from billing_app.db.read_pool import UnansweredError, UnreadableError
from billing_app.routes import CURRENT_PLAN, USAGE_TOTALS

BEARER: Final = b"bearer "
ACCOUNT_NAMES: Final = frozenset({"organization_id", "user_id", "account_id"})
USAGE_NAMES: Final = ACCOUNT_NAMES | {"from", "to", "group_by"}
MAX_LENGTH: Final = 255
UNANSWERED: Final = "The database did not answer in time. Try again."

Parameters = dict[str, str]
Read = Callable[[Services, ServiceActor, Parameters, datetime], Awaitable[bytes | None]]

log = structlog.get_logger(__name__)


class PolledReads:
    """ASGI: answers what it can at once and passes everything else on."""

    def __init__(self, app: ASGIApp, services: Callable[[], Services]) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        read = READS.get(scope["path"]) if _is_get(scope) else None
        try:
            body = await self._body(read, scope) if read else None
        except UnansweredError:
            await problem_response(CannotDecideError(UNANSWERED))(scope, receive, send)
            return
        if body is None:
            await self._app(scope, receive, send)
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _body(self, read: Read, scope: Scope) -> bytes | None:
        services = self._services()
        actor = _known_key(scope, services)
        parameters = _parameters(scope["query_string"])
        if actor is None or parameters is None:
            return None
        try:
            return await read(services, actor, parameters, datetime.now(UTC))
        except (BillingError, UnreadableError, ValueError, *UNREACHABLE):
            return None


async def _read_current(
    services: Services, actor: ServiceActor, parameters: Parameters, now: datetime
) -> bytes | None:
    account_id = _account_id(services, actor, parameters)
    if account_id is None or not parameters.keys() <= ACCOUNT_NAMES:
        return None
    return encode_current(*await services.polled_plans.read(actor, account_id, now))


async def _read_usage(
    services: Services, actor: ServiceActor, parameters: Parameters, now: datetime
) -> bytes | None:
    account_id = _account_id(services, actor, parameters)
    if account_id is None or not parameters.keys() <= USAGE_NAMES:
        return None
    days = days_of(parameters.get("from"), parameters.get("to"), now.date())
    group_by = GroupBy(parameters.get("group_by", GroupBy.DAY))
    rows = await services.polled_usage.read(actor, account_id, days=days, group_by=group_by)
    kept_from = days_kept_from(now, services.settings.daily_retention_months)
    return encode_usage(account_id, days, group_by, rows, kept_from)


READS: Final[dict[str, Read]] = {CURRENT_PLAN: _read_current, USAGE_TOTALS: _read_usage}


def _is_get(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] == "GET"


def _known_key(scope: Scope, services: Services) -> ServiceActor | None:
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(found) != 1 or found[0][: len(BEARER)].lower() != BEARER:
        return None
    return services.keys.cached(found[0][len(BEARER) :].strip().decode("latin-1"))


def _parameters(query: bytes) -> Parameters | None:
    """None for anything that FastAPI might refuse: its own rules say how."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    parameters = dict(pairs)
    is_plain = len(parameters) == len(pairs) and all(
        value.isprintable() and 0 < len(value) <= MAX_LENGTH for value in parameters.values()
    )
    return parameters if is_plain else None


def _account_id(services: Services, actor: ServiceActor, parameters: Parameters) -> str | None:
    named = parameters.get("account_id")
    organization_id = parameters.get("organization_id")
    if named is not None or organization_id is None:
        return named
    user_id = parameters.get("user_id", "")
    return services.accounts.known(actor, organization_id=organization_id, user_id=user_id)
