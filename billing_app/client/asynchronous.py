"""The client for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx

from . import alert_calls, lease_reads, operations, provisioning, webhook_calls
from .answers import Page
from .bodies import CheckItem
from .conversation import (
    BatchResult,
    Connection,
    Conversation,
    Result,
    answered,
    call,
    call_batch,
)
from .counting import AsyncDecorator, Counted, Returned
from .documented import documented
from .journal import Flush
from .lease_books import NO_LEASES, LeaseBook
from .lease_keepers import TaskKeeper
from .lease_runs import LeasedRuns
from .lease_terms import LeaseTerms
from .leases import Lease
from .retries import Reply, Retries
from .routes import Operation
from .runs import Outage, Run, policy_of
from .version import USER_AGENT

P = ParamSpec("P")
Called = ParamSpec("Called")
Answer = TypeVar("Answer")
Item = TypeVar("Item")


def _method(
    build: Callable[P, Operation[Answer]],
) -> Callable[Concatenate["AsyncBilling", P], Coroutine[Any, Any, Answer]]:
    async def method(self: "AsyncBilling", *args: P.args, **kwargs: P.kwargs) -> Answer:
        return await self.perform(call(self.connection, build(*args, **kwargs)))

    return documented(method, build)


def _iteration(
    build: Callable[P, Operation[Page[Item]]],
) -> Callable[Concatenate["AsyncBilling", P], AsyncIterator[Item]]:
    """All items of a list, page after page as they are asked for."""

    async def iteration(
        self: "AsyncBilling", *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[Item]:
        operation = build(*args, **kwargs)
        while True:
            page = await self.perform(call(self.connection, operation))
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            operation = operation.at(page.next_cursor)

    return documented(iteration, build)


def _stream(
    build: Callable[P, Operation[str]],
) -> Callable[Concatenate["AsyncBilling", P], AsyncIterator[str]]:
    async def stream(self: "AsyncBilling", *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[str]:
        conversation = answered(self.connection, build(*args, **kwargs))
        response = await self.perform(conversation, is_streamed=True)
        async with aclosing(response):
            async for piece in response.aiter_text():
                yield piece

    return documented(stream, build)


def _running(
    make: Callable[P, Run],
) -> Callable[Concatenate["AsyncBilling", P], AbstractAsyncContextManager[Run]]:
    def running(
        self: "AsyncBilling", *args: P.args, **kwargs: P.kwargs
    ) -> AbstractAsyncContextManager[Run]:
        return self.open(make(*args, **kwargs))

    return documented(running, make)


def _counting(
    make: Callable[P, Counted],
) -> Callable[Concatenate["AsyncBilling", P], AsyncDecorator]:
    def counting(self: "AsyncBilling", *args: P.args, **kwargs: P.kwargs) -> AsyncDecorator:
        counted = make(*args, **kwargs)

        def decorate(
            function: Callable[Called, Awaitable[Returned]],
        ) -> Callable[Called, Coroutine[Any, Any, Returned]]:
            @wraps(function)
            async def wrapper(*args: Called.args, **kwargs: Called.kwargs) -> Returned:
                async with self.open(counted.run(function, *args, **kwargs)):
                    return await function(*args, **kwargs)

            return wrapper

        return decorate

    return documented(counting, make)


class AsyncBilling:
    """A service's connection to the billing server at `url`, with its API key.

    `outage` says what to do when no decision can be had: `deny` starts no run; `lease` decides runs
    here, from executions that were leased before. `leases` says how; it is needed for `lease`, too.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        retries: Retries | None = None,
        outage: Outage = "deny",
        leases: LeaseTerms | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raises ValueError for an address, key or policy that cannot be."""
        self.connection = Connection(url, key, retries or Retries(), USER_AGENT)
        self._book = None if leases is None else LeaseBook(leases, self.connection, url)
        is_leasing = self._book is not None and outage == "lease"
        self._policy = LeasedRuns(self._book) if self._book and is_leasing else policy_of(outage)
        self._http = httpx.AsyncClient(transport=transport)
        self._keeper: TaskKeeper | None = None
        if self._book is not None:
            book = self._book
            self._keeper = TaskKeeper(book, lambda: self.perform(book.keep()))
            book.start = self._keeper.start

    async def __aenter__(self) -> "AsyncBilling":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Settles leases and gives back the rest."""
        if self._book is not None and self._keeper is not None:
            await self._keeper.stop()
            await self.perform(self._book.close())
        await self._http.aclose()

    async def lease(
        self, organization_id: str, *, user_id: str | None = None, workflow: str | None = None
    ) -> Lease:
        """Executions of an account that are decided here, kept full until `close`. `user_id`: for
        the public organization. Raises as a request; needs `leases`."""
        if self._book is None:
            raise ValueError(NO_LEASES)
        lease = self._book.lease(organization_id, user_id, workflow)
        await self.perform(self._book.open(lease))
        return lease

    check = _method(operations.check)
    consume = _method(operations.consume)
    reserve = _method(operations.reserve)
    commit = _method(operations.commit)
    release = _method(operations.release)
    refund = _method(operations.refund)
    receipt = _method(operations.receipt)
    current_plan = _method(operations.current_plan)
    plan_history = _method(operations.plan_history)
    usage = _method(operations.usage)
    usage_events = _method(operations.usage_events)
    account_history = _method(operations.account_history)
    offers = _method(operations.offers)
    subscribe = _method(operations.subscribe)
    current_subscription = _method(operations.current_subscription)
    preview_change = _method(operations.preview_change)
    change_subscription = _method(operations.change_subscription)
    cancel_subscription = _method(operations.cancel_subscription)
    resume_subscription = _method(operations.resume_subscription)
    open_portal = _method(operations.open_portal)
    overage_limit = _method(operations.overage_limit)
    set_overage_limit = _method(operations.set_overage_limit)
    top_up = _method(operations.top_up)
    switch_on_top_up = _method(operations.switch_on_top_up)
    switch_off_top_up = _method(operations.switch_off_top_up)
    put_organization = _method(provisioning.put_organization)
    organization = _method(provisioning.organization)
    organizations = _method(provisioning.organizations)
    close_organization = _method(provisioning.close_organization)
    put_user = _method(provisioning.put_user)
    user = _method(provisioning.user)
    grant_plan = _method(provisioning.grant_plan)
    create_portal_link = _method(provisioning.create_portal_link)
    webhook_endpoints = _method(webhook_calls.webhook_endpoints)
    webhook_endpoint = _method(webhook_calls.webhook_endpoint)
    create_webhook_endpoint = _method(webhook_calls.create_webhook_endpoint)
    change_webhook_endpoint = _method(webhook_calls.change_webhook_endpoint)
    delete_webhook_endpoint = _method(webhook_calls.delete_webhook_endpoint)
    rotate_webhook_secret = _method(webhook_calls.rotate_webhook_secret)
    send_test_webhook = _method(webhook_calls.send_test_webhook)
    webhook_deliveries = _method(webhook_calls.webhook_deliveries)
    webhook_delivery = _method(webhook_calls.webhook_delivery)
    redeliver_webhook = _method(webhook_calls.redeliver_webhook)
    alerts = _method(alert_calls.alerts)
    alert_rules = _method(alert_calls.alert_rules)
    set_alert_rules = _method(alert_calls.set_alert_rules)
    leases = _method(lease_reads.leases)
    read_lease = _method(lease_reads.read_lease)

    each_plan = _iteration(operations.plan_history)
    each_usage_event = _iteration(operations.usage_events)
    each_account_action = _iteration(operations.account_history)
    each_organization = _iteration(provisioning.organizations)
    each_webhook_endpoint = _iteration(webhook_calls.webhook_endpoints)
    each_webhook_delivery = _iteration(webhook_calls.webhook_deliveries)
    each_alert = _iteration(alert_calls.alerts)
    each_lease = _iteration(lease_reads.leases)
    export_usage = _stream(operations.export_usage)

    run = _running(Run)
    counted = _counting(Counted)

    async def batch(self, items: Sequence[CheckItem]) -> list[BatchResult]:
        """An answer or a problem for each item, in order; any number of items."""
        return await self.perform(call_batch(self.connection, items))

    @asynccontextmanager
    async def open(self, run: Run) -> AsyncGenerator[Run]:
        """Hold executions for the block, then count what it used; nothing when it raises."""
        await self.perform(self._policy.begin(self.connection, run))
        try:
            yield run
        except BaseException as error:
            await self.perform(self._policy.abandon(self.connection, run, error))
            raise
        await self.perform(self._policy.settle(self.connection, run))

    async def perform(
        self, conversation: Conversation[Result], *, is_streamed: bool = False
    ) -> Result:
        reply: Reply | None = None
        while True:
            try:
                step = conversation.send(reply)
            except StopIteration as end:
                return end.value
            if isinstance(step, httpx.Request):
                reply = await self._send(step, is_streamed=is_streamed)
            elif isinstance(step, Flush):
                await step.flusher.wait_async()
                reply = None
            else:
                await asyncio.sleep(step)
                reply = None

    async def _send(self, request: httpx.Request, *, is_streamed: bool) -> Reply:
        try:
            response = await self._http.send(request, stream=is_streamed)
            if is_streamed and not response.is_success:
                await response.aread()
        except httpx.RequestError as error:
            return error
        return response
