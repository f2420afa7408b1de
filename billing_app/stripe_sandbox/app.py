"""Puts the sandbox together: the API, the pages, the control endpoints, and what runs beside."""

import asyncio
import contextlib
import json
import os
import traceback
from collections.abc import AsyncIterator
from dataclasses import asdict
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
from billing_app.stripe_sandbox.due import run_due
from billing_app.stripe_sandbox.faults import Faults
from billing_app.stripe_sandbox.idempotency import KeptAnswer
from billing_app.stripe_sandbox.pages import checkout_page, invoice_page, layout, portal_page
from billing_app.stripe_sandbox.pages.actions import Desk
from billing_app.stripe_sandbox.webhooks import Deliverer
from billing_app.stripe_sandbox.world import World

assert resources.__all__  # importing the package registers the API's routes
_TICK_SECONDS = 1.0


class Sandbox:
    """One sandbox: its world, and the tasks that deliver webhooks, let time pass and save."""

    def __init__(self, base_url: str, data_file: Path | None = None) -> None:
        self.world = World(base_url)
        self.deliverer = Deliverer(self.world, Faults())
        self.api = Api(self.world, self.deliverer)
        self.data_file = data_file
        self._saved = ""
        if data_file and data_file.exists():
            self._load(json.loads(data_file.read_text()))

    def asgi(self) -> ASGIApp:
        """The whole application; `/v1` and `/v2` go past the framework."""
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
            is_api = scope["type"] == "http" and scope["path"].startswith(("/v1/", "/v2/"))
            await (self.api if is_api else starlette)(scope, receive, send)

        return dispatch

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.deliverer.requeue_undelivered()
        tasks = [asyncio.create_task(self.deliverer.run()), asyncio.create_task(self._tick())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.save()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            try:
                run_due(self.world, None, self.world.real_now())
            except Exception:
                problem = traceback.format_exc()
                self.world.violations.append({"where": "crash of time", "problem": problem})
            self.deliverer.take_new_events()
            self.save()

    def save(self) -> None:
        """Writes the state whole or not at all, if there is a file for it and something changed."""
        if self.data_file is None:
            return
        state = self.world.dump()
        state["idempotency"] = {key: asdict(kept) for key, kept in self.api.keys.answers.items()}
        text = json.dumps(state)
        if text == self._saved:
            return
        temporary = self.data_file.with_suffix(".tmp")
        temporary.write_text(text)
        os.replace(temporary, self.data_file)  # noqa: PTH105 - atomic, and says so
        self._saved = text

    def _load(self, state: dict[str, object]) -> None:
        kept = state.pop("idempotency", {})
        assert isinstance(kept, dict)
        self.world.load(state)
        self.api.keys.answers = {key: KeptAnswer(**value) for key, value in kept.items()}


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
    return layout.message("Stripe sandbox", "It is running. Its API is at /v1.")


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"error": {"message": "not found"}}, 404)(scope, receive, send)
