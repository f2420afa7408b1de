"""Calls to Stripe: leave to write, time-outs, retries, and Stripe's errors as billing's.

Every call that may write passes `_Connection`, so none can go without leave or without the
installation's mark in its idempotency key. The SDK retries connection failures and 5xx with the
same key; 429 is retried here (docs.stripe.com/rate-limits).
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import stripe
import structlog
from stripe import StripeClient

from billing_app import tracing
from billing_app.billing.subscriptions.provider import (
    ProviderAccount,
)
from billing_app.billing.subscriptions.provider_errors import (
    BillingAddressMissingError,
    NotAtProviderError,
    PaymentProviderFailedError,
    PaymentProviderUnavailableError,
    ProviderKeyConflictError,
)
from billing_app.payments import declines
from billing_app.payments.call_metrics import timed
from billing_app.payments.rate_budget import RateBudget

TIMEOUT_SECONDS: Final = 20
# For all attempts together: somebody is waiting.
GIVE_UP_SECONDS: Final = 30
NETWORK_RETRIES: Final = 2
RATE_LIMIT_ATTEMPTS: Final = 5
RATE_LIMIT_WAIT_SECONDS: Final = 0.4
RETRY_AFTER_MOST_SECONDS: Final = 5.0
TOO_MANY: Final = 429
KEY_IN_USE: Final = "idempotency_key_in_use"
PAGE_SIZE: Final = 100
MAX_LISTED: Final = 10_000
LIVE_KEY: Final = re.compile(r"[a-z]+(_org)?_live_")
LOCATION_INVALID: Final = "customer_tax_location_invalid"
KEY_HEADER: Final = "Idempotency-Key"
# A POST that changes nothing.
PREVIEW: Final = "/v1/invoices/create_preview"

Result = TypeVar("Result")
log = structlog.get_logger(__name__)


Permit = Callable[[], Awaitable[str]]
"""Gives the installation's mark ("" in older ones), or raises ProviderNotAdoptedError."""


class _Connection(stripe.HTTPXClient):
    """Asks for leave before each request that may write, and the rate budget before each."""

    permit: Permit | None = None
    budget: RateBudget | None = None

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        if self.permit is not None and method != "get" and not url.endswith(PREVIEW):
            headers = marked(headers, await self.permit())
        if self.budget is not None:
            await self.budget.take()
        async with timed(method, url) as attempt:
            headers = tracing.outgoing(headers)
            answer = await super().request_async(method, url, headers, post_data)  # pyright: ignore[reportUnknownMemberType]
            attempt.status = answer[1]
        if attempt.status == TOO_MANY and self.budget is not None:
            await self.budget.slow_down(retry_after(answer[2]))
        return answer


def retry_after(headers: Mapping[str, str] | None) -> float:
    """The seconds that an answer asks us to wait; 0: it does not say."""
    named = {name.lower(): value for name, value in (headers or {}).items()}.get("retry-after", "")
    return float(named) if named.isdecimal() else 0.0


def marked(headers: Mapping[str, str], mark: str) -> Mapping[str, str]:
    """With the mark in front of the idempotency key, so that copies never share one."""
    if not mark or KEY_HEADER not in headers:
        return headers
    return {**headers, KEY_HEADER: f"{mark}:{headers[KEY_HEADER]}"}


class StripeCalls:
    """One client for all topics of the gateway."""

    def __init__(
        self, secret_key: str, api_base: str | None = None, *, computes_tax: bool = False
    ) -> None:
        """`api_base`: the address of the sandbox, when it is used instead of Stripe.
        `computes_tax`: with Stripe Tax (docs.stripe.com/tax)."""
        self.computes_tax = computes_tax
        self.tax: dict[str, Any] = {"automatic_tax": {"enabled": True}} if computes_tax else {}
        self._http = _Connection(timeout=TIMEOUT_SECONDS)
        self._is_live = LIVE_KEY.match(secret_key) is not None
        self.client = StripeClient(
            secret_key,
            base_addresses={"api": api_base} if api_base else None,
            max_network_retries=NETWORK_RETRIES,
            http_client=self._http,
        )

    async def close(self) -> None:
        """Close the connections to Stripe."""
        await self._http.close_async()

    def keep_to(self, budget: RateBudget) -> None:
        self._http.budget = budget

    def ask_before_writing(self, permit: Permit) -> None:
        self._http.permit = permit

    async def require_writable(self) -> None:
        """Raises ProviderNotAdoptedError when nothing may be written to the account."""
        await self.mark()

    async def mark(self) -> str:
        """What the objects that this installation creates carry; "" in older installations."""
        return await self._http.permit() if self._http.permit is not None else ""

    async def account(self) -> ProviderAccount:
        """A restricted key may not be allowed to read the account's id
        (docs.stripe.com/keys/restricted-api-keys)."""
        try:
            account = await send(self.client.v1.accounts.retrieve_current_async)
        except PaymentProviderFailedError as error:
            if error.extensions["reason"] != stripe.PermissionError.__name__:
                raise
            return ProviderAccount(None, self._is_live)
        return ProviderAccount(account.id, self._is_live)


async def send(call: Callable[[], Awaitable[Result]]) -> Result:
    """Call Stripe; its errors become billing's. Gives up after GIVE_UP_SECONDS."""
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            return await _send(call)
    except TimeoutError:
        log.warning("stripe_unavailable", error="TimeoutError", code=None)
        raise PaymentProviderUnavailableError from None


async def _send(call: Callable[[], Awaitable[Result]]) -> Result:
    """Retries 429 a few times after a wait, and a key that another request is using."""
    for attempt in range(RATE_LIMIT_ATTEMPTS):
        try:
            return await call()
        except (stripe.RateLimitError, stripe.IdempotencyError) as error:
            if isinstance(error, stripe.IdempotencyError) and error.code != KEY_IN_USE:
                log.warning("stripe_key_conflict", request_id=error.request_id)
                raise ProviderKeyConflictError(reason="idempotency_conflict") from None
            wait_seconds = RATE_LIMIT_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311
            asked_seconds = min(retry_after(error.headers), RETRY_AFTER_MOST_SECONDS)
            await asyncio.sleep(max(wait_seconds, asked_seconds))
        except stripe.CardError as error:
            raise declines.declined(error) from None
        except (stripe.APIConnectionError, stripe.APIError) as error:
            raise _unavailable(error) from None
        except stripe.InvalidRequestError as error:
            if error.code == "resource_missing":
                raise NotAtProviderError(param=str(error.param)) from None  # pyright: ignore[reportUnknownArgumentType]
            log.warning("stripe_refused", code=error.code, param=error.param)
            if error.code == LOCATION_INVALID:
                raise BillingAddressMissingError from None
            raise PaymentProviderFailedError(error.user_message or "", reason=error.code) from None
        except stripe.StripeError as error:
            log.warning("stripe_failed", error=type(error).__name__, code=error.http_status)
            raise PaymentProviderFailedError(reason=type(error).__name__) from None
    raise PaymentProviderUnavailableError("The payment provider is busy.")


def _unavailable(error: stripe.StripeError) -> PaymentProviderUnavailableError:
    log.warning("stripe_unavailable", error=type(error).__name__, code=error.http_status)
    return PaymentProviderUnavailableError()


async def all_rows(first_page: Callable[[], Awaitable[Any]]) -> list[Any]:
    """All rows of a list, newest first, at most MAX_LISTED; a longer list is logged and cut."""
    page = await send(first_page)
    rows: list[Any] = list(page.data)
    while page.has_more and len(rows) < MAX_LISTED:
        current = page
        page = await send(lambda current=current: current.next_page_async())
        rows.extend(page.data)
    if page.has_more:
        log.error("stripe_list_cut", url=page.url, rows=len(rows))
    return rows


async def complete(embedded: Any) -> None:
    """Read the rest of a list inside another object, in place: Stripe sends its first ten rows
    (docs.stripe.com/api/pagination)."""
    if not embedded.has_more:
        return
    following = {"starting_after": embedded.data[-1].id, "limit": PAGE_SIZE}
    rest = await all_rows(lambda: embedded.list_async(**following))
    embedded.data = [*embedded.data, *rest]
    embedded.has_more = False


def options(key: str) -> Any:
    return {"idempotency_key": key}


def reference(value: Any) -> str:
    return value if isinstance(value, str) else value.id
