"""The client for code without `await`. Threads may share one."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

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
from .counting import Counted, Decorator, Returned
from .documented import documented
from .journal import Flush
from .lease_books import NO_LEASES, LeaseBook
from .lease_keepers import ThreadKeeper
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


def _method(build: Callable[P, Operation[Answer]]) -> Callable[Concatenate["Billing", P], Answer]:
    def method(self: "Billing", *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self.perform(call(self.connection, build(*args, **kwargs)))

    return documented(method, build)


def _iteration(
    build: Callable[P, Operation[Page[Item]]],
) -> Callable[Concatenate["Billing", P], Iterator[Item]]:
    """All items of a list, page after page as they are asked for."""

    def iteration(self: "Billing", *args: P.args, **kwargs: P.kwargs) -> Iterator[Item]:
        operation = build(*args, **kwargs)
        while True:
            page = self.perform(call(self.connection, operation))
            yield from page.items
            if page.next_cursor is None:
                return
            operation = operation.at(page.next_cursor)

    return documented(iteration, build)


def _stream(
    build: Callable[P, Operation[str]],
) -> Callable[Concatenate["Billing", P], Iterator[str]]:
    def stream(self: "Billing", *args: P.args, **kwargs: P.kwargs) -> Iterator[str]:
        conversation = answered(self.connection, build(*args, **kwargs))
        response = self.perform(conversation, is_streamed=True)
        with closing(response):
            yield from response.iter_text()

    return documented(stream, build)


def _running(
    make: Callable[P, Run],
) -> Callable[Concatenate["Billing", P], AbstractContextManager[Run]]:
    def running(self: "Billing", *args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[Run]:
        return self.open(make(*args, **kwargs))

    return documented(running, make)


def _counting(make: Callable[P, Counted]) -> Callable[Concatenate["Billing", P], Decorator]:
    def counting(self: "Billing", *args: P.args, **kwargs: P.kwargs) -> Decorator:
        counted = make(*args, **kwargs)

        def decorate(function: Callable[Called, Returned]) -> Callable[Called, Returned]:
            @wraps(function)
            def wrapper(*args: Called.args, **kwargs: Called.kwargs) -> Returned:
                with self.open(counted.run(function, *args, **kwargs)):
                    return function(*args, **kwargs)

            return wrapper

        return decorate

    return documented(counting, make)


class Billing:
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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Raises ValueError for an address, key or policy that cannot be."""
        self.connection = Connection(url, key, retries or Retries(), USER_AGENT)
        self._book = None if leases is None else LeaseBook(leases, self.connection, url)
        is_leasing = self._book is not None and outage == "lease"
        self._policy = LeasedRuns(self._book) if self._book and is_leasing else policy_of(outage)
        self._http = httpx.Client(transport=transport)
        self._keeper: ThreadKeeper | None = None
        if self._book is not None:
            book = self._book
            self._keeper = ThreadKeeper(book, lambda: self.perform(book.keep()))
            book.start = self._keeper.start

    def __enter__(self) -> "Billing":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Settles leases and gives back the rest."""
        if self._book is not None and self._keeper is not None:
            self._keeper.stop()
            self.perform(self._book.close())
        self._http.close()

    def lease(
        self, organization_id: str, *, user_id: str | None = None, workflow: str | None = None
    ) -> Lease:
        """Executions of an account that are decided here, kept full until `close`. `user_id`: for
        the public organization. Raises as a request; needs `leases`."""
        if self._book is None:
            raise ValueError(NO_LEASES)
        lease = self._book.lease(organization_id, user_id, workflow)
        self.perform(self._book.open(lease))
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

    def batch(self, items: Sequence[CheckItem]) -> list[BatchResult]:
        """An answer or a problem for each item, in order; any number of items."""
        return self.perform(call_batch(self.connection, items))

    @contextmanager
    def open(self, run: Run) -> Generator[Run]:
        """Hold executions for the block, then count what it used; nothing when it raises."""
        self.perform(self._policy.begin(self.connection, run))
        try:
            yield run
        except BaseException as error:
            self.perform(self._policy.abandon(self.connection, run, error))
            raise
        self.perform(self._policy.settle(self.connection, run))

    def perform(self, conversation: Conversation[Result], *, is_streamed: bool = False) -> Result:
        reply: Reply | None = None
        while True:
            try:
                step = conversation.send(reply)
            except StopIteration as end:
                return end.value
            if isinstance(step, httpx.Request):
                reply = self._send(step, is_streamed=is_streamed)
            elif isinstance(step, Flush):
                step.flusher.wait()
                reply = None
            else:
                time.sleep(step)
                reply = None

    def _send(self, request: httpx.Request, *, is_streamed: bool) -> Reply:
        try:
            response = self._http.send(request, stream=is_streamed)
            if is_streamed and not response.is_success:
                response.read()
        except httpx.RequestError as error:
            return error
        return response
