"""Functions and requests that are counted: decorator, ASGI and WSGI middleware."""

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import pytest

from billing_app.client import (
    AsyncBilling,
    Billing,
    BillingError,
    DeniedError,
    Run,
    asgi,
    wsgi,
)
from billing_app.client.counting import Refusal
from tests.api.server import ApiServer
from tests.client.conftest import IMPATIENT
from tests.client.faulty import Fault, FaultyServer
from tests.client.test_retries import used
from tests.factories import Holder

# Of a request: what the service does with it.
OK, FAILS, RAISES, USES_TWO = "/ok", "/fails", "/raises", "/uses-two"


class ServiceError(Exception):
    """Of the service that is counted."""


def test_decorated_function(billing: Billing, holder: Holder, client_database_url: str) -> None:
    @billing.counted(holder.organization_id, executions=2)
    def double(number: int, *, fails: bool = False) -> int:
        """Twice the number."""
        if fails:
            raise ServiceError
        return 2 * number

    assert double(4) == 8
    assert double.__doc__ == "Twice the number."
    with pytest.raises(ServiceError):
        double(4, fails=True)
    assert used(client_database_url, holder) == (2, 0)
    (event,) = billing.usage_events(holder.organization_id).items
    assert event.workflow == "double"


def test_decorator_takes_names_from_arguments(billing: Billing, holder: Holder) -> None:
    @billing.counted(lambda org, _: org, user_id=lambda _, user: user, workflow="triage")
    def triage(org: str, user: str) -> str:
        return org + user

    triage(holder.organization_id, "ann")
    (event,) = billing.usage_events(holder.organization_id).items
    assert (event.user_id, event.workflow) == ("ann", "triage")
    with pytest.raises(BillingError):
        triage("org_nobody", "ann")


def test_denied_function_is_not_called(billing: Billing, holder: Holder) -> None:
    @billing.counted(holder.organization_id, executions=101)
    def never() -> None:
        pytest.fail("it was called")

    with pytest.raises(DeniedError):
        never()


async def test_decorated_coroutine(
    server: ApiServer, key: str, holder: Holder, client_database_url: str
) -> None:
    async with AsyncBilling(server.url, key) as billing:

        @billing.counted(holder.organization_id, executions=3)
        async def work(number: int) -> int:
            await asyncio.sleep(0)
            return number

        assert await asyncio.gather(*[work(number) for number in range(5)]) == [0, 1, 2, 3, 4]
    assert used(client_database_url, holder) == (15, 0)


async def test_cancelled_coroutine_counts_nothing(
    server: ApiServer, key: str, holder: Holder, client_database_url: str
) -> None:
    async with AsyncBilling(server.url, key) as billing:
        started = asyncio.Event()

        @billing.counted(holder.organization_id)
        async def work() -> None:
            started.set()
            await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert used(client_database_url, holder) == (0, 0)


async def asgi_service(scope: Any, _receive: Any, send: Any) -> None:
    path = scope["path"]
    if path == RAISES:
        raise ServiceError
    if path == USES_TWO:
        scope["billing.run"].use(2)
    status = 500 if path == FAILS else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def wsgi_service(environ: Any, start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == RAISES:
        raise ServiceError
    if path == USES_TWO:
        environ["billing.run"].use(2)
    start_response("500 Broken" if path == FAILS else "200 OK", [])
    return [b"do", b"ne"]


Call = Callable[[str], httpx.Response]
Make = Callable[..., Call]


@pytest.fixture(params=["asgi", "wsgi"])
def service(request: pytest.FixtureRequest, key: str) -> Make:
    """A service with the middleware, to be called with a path; each call is a new client."""

    def run_of(organization_id: str, path: str) -> Run | None:
        return None if path == "/free" else Run(organization_id, executions=5)

    def over_asgi(url: str, organization_id: str, **more: Any) -> Call:
        async def call(path: str) -> httpx.Response:
            async with AsyncBilling(url, key, retries=IMPATIENT) as billing:
                app = asgi.CountRequests(
                    asgi_service,
                    billing,
                    lambda scope: run_of(organization_id, scope["path"]),
                    **more,
                )
                transport = httpx.ASGITransport(app)
                async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                    return await client.get(path)

        return lambda path: asyncio.run(call(path))

    def over_wsgi(url: str, organization_id: str, **more: Any) -> Call:
        def call(path: str) -> httpx.Response:
            with Billing(url, key, retries=IMPATIENT) as billing:
                app = wsgi.CountRequests(
                    wsgi_service,
                    billing,
                    lambda environ: run_of(organization_id, environ["PATH_INFO"]),
                    **more,
                )
                transport = httpx.WSGITransport(app)
                with httpx.Client(transport=transport, base_url="http://x") as client:
                    return client.get(path)

        return call

    return over_asgi if request.param == "asgi" else over_wsgi


@pytest.mark.parametrize(("path", "counted"), [(OK, 5), (USES_TWO, 2), (FAILS, 0), ("/free", 0)])
def test_request_is_counted(
    service: Make,
    server: ApiServer,
    holder: Holder,
    client_database_url: str,
    path: str,
    counted: int,
) -> None:
    response = service(server.url, holder.organization_id)(path)
    assert response.status_code == (500 if path == FAILS else 200)
    assert response.text == "done"
    assert used(client_database_url, holder) == (counted, 0)


def test_request_that_raises_is_not_counted(
    service: Make, server: ApiServer, holder: Holder, client_database_url: str
) -> None:
    with pytest.raises(ServiceError):
        service(server.url, holder.organization_id)(RAISES)
    assert used(client_database_url, holder) == (0, 0)


def test_refused_request_gets_402(
    service: Make, server: ApiServer, holder: Holder, billing: Billing
) -> None:
    billing.consume(holder.organization_id, executions=98)
    response = service(server.url, holder.organization_id)(RAISES)
    assert response.status_code == 402
    assert response.headers["content-type"] == "application/problem+json"
    answer = response.json()
    assert (answer["code"], answer["executions_remaining"]) == ("insufficient_executions", 2)
    assert answer["type"] == "about:blank"


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault.BUSY, 503), (Fault.DROP, 503), (Fault.LIMITED, 429)]
)
def test_request_without_decision_is_to_be_tried_again(
    service: Make, faulty: FaultyServer, fault: Fault, status: int
) -> None:
    faulty.plan([], then=fault)
    response = service(faulty.url, "acme")(RAISES)
    assert response.status_code == status
    assert response.headers["retry-after"] == "1"


def test_refusal_can_be_replaced(service: Make, server: ApiServer, holder: Holder) -> None:
    def refuse(error: BillingError) -> Refusal:
        assert isinstance(error, DeniedError)
        return Refusal(429, json.dumps({"sorry": error.code}).encode(), "application/json")

    with_few = service(server.url, holder.organization_id, refuse=refuse)
    for _ in range(20):
        assert with_few(OK).status_code == 200
    response = with_few(OK)
    assert (response.status_code, response.json()) == (429, {"sorry": "insufficient_executions"})


def test_misconfigured_billing_is_an_error_of_the_service(service: Make, server: ApiServer) -> None:
    with pytest.raises(BillingError):
        service(server.url, "org_nobody")(OK)


def test_answer_is_not_lost_when_counting_fails(
    service: Make, faulty: FaultyServer, holder: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    faulty.plan([Fault.PASS], then=Fault.DROP)
    assert service(faulty.url, holder.organization_id)(OK).text == "done"
    assert "was not counted" in caplog.text


async def test_lifespan_and_websockets_pass(server: ApiServer, key: str) -> None:
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return {}

    async with AsyncBilling(server.url, key) as billing:
        counted = asgi.CountRequests(app, billing, lambda _: pytest.fail("asked"))
        for kind in ("lifespan", "websocket"):
            await counted({"type": kind}, nothing, nothing)
    assert seen == ["lifespan", "websocket"]
