"""Puts the sandbox together: the API, the pages, the control endpoints, the background tasks."""

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from billing_app.stripe_sandbox import resources
from billing_app.stripe_sandbox.api import Api
from billing_app.stripe_sandbox.control import Control
from billing_app.stripe_sandbox.data_file import DataFile
from billing_app.stripe_sandbox.due import next_due_at, run_due
from billing_app.stripe_sandbox.faults import Faults
from billing_app.stripe_sandbox.pages import checkout_page, invoice_page, layout, portal_page
from billing_app.stripe_sandbox.pages.actions import Desk
from billing_app.stripe_sandbox.webhooks import Deliverer
from billing_app.stripe_sandbox.world import World

assert resources.__all__  # importing the package registers the API's routes
_TICK_SECONDS = 1.0
_LONGEST_SLEEP_SECONDS = 60.0  # bounds what a jump of the machine's clock can delay


class Sandbox:
    """One sandbox: its world, and the tasks that deliver webhooks, let time pass and save."""

    def __init__(self, base_url: str, data_path: Path | None = None) -> None:
        self.world = World(base_url)
        self.deliverer = Deliverer(self.world, Faults())
        self.api = Api(self.world, self.deliverer)
        self._data = DataFile(data_path, self.world, self.api.keys) if data_path else None
        if self._data:
            self._data.load()
            self._data.save()  # so that a new account keeps its id, however this process ends
        self._written = asyncio.Event()
        self.world.store.on_write = self._written.set

    def asgi(self) -> ASGIApp:
        """The whole application; `/v1` bypasses the framework."""
        control = Control(self.world, self.api, self.deliverer)
        starlette = Starlette(
            routes=[*_page_routes(), *control.routes(), Mount("/", app=_not_found)],
            lifespan=self._lifespan,
            middleware=[
                Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
            ],
        )
        starlette.state.desk = Desk(self.world, self.deliverer)

        async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
            is_api = scope["type"] == "http" and scope["path"].startswith("/v1/")
            await (self.api if is_api else starlette)(scope, receive, send)

        return dispatch

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.deliverer.requeue_undelivered()
        tasks = [asyncio.create_task(self.deliverer.run()), asyncio.create_task(self._live())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.save()

    async def _live(self) -> None:
        """Lets time pass and saves: when something is due, and a second after each write."""
        while True:
            self._pass_time()
            if self._written.is_set():
                self._written.clear()
                self.save()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._written.wait(), self._sleep_seconds())
                await asyncio.sleep(_TICK_SECONDS)

    def _pass_time(self) -> None:
        try:
            run_due(self.world, None, self.world.real_now())
        except Exception:
            problem = traceback.format_exc()
            self.world.violations.append({"where": "crash of time", "problem": problem})
        self.deliverer.take_new_events()

    def _sleep_seconds(self) -> float:
        due_at = next_due_at(self.world, None)
        if due_at is None:
            return _LONGEST_SLEEP_SECONDS
        return min(max(due_at - self.world.real_now(), _TICK_SECONDS), _LONGEST_SLEEP_SECONDS)

    def save(self) -> None:
        """Saves the state, if there is a file for it."""
        if self._data:
            self._data.save()


def _page_routes() -> list[Route]:
    return [
        Route("/", _home),
        Route("/checkout/{id}", checkout_page.show),
        Route("/checkout/{id}", checkout_page.submit, methods=["POST"]),
        Route("/checkout/{id}/return", checkout_page.come_back),
        Route("/challenge/{id}", checkout_page.show_challenge),
        Route("/challenge/{id}", checkout_page.answer_challenge, methods=["POST"]),
        Route("/invoices/{id}", invoice_page.show),
        Route("/invoices/{id}", invoice_page.pay, methods=["POST"]),
        Route("/invoices/{id}/pdf", invoice_page.pdf),
        Route("/portal/{id}", portal_page.show),
        Route("/portal/{id}", portal_page.act, methods=["POST"]),
    ]


async def _home(request: Request) -> Response:
    return layout.message("Stripe sandbox", "The sandbox is running. Its API is at /v1.")


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"error": {"message": "not found"}}, 404)(scope, receive, send)
