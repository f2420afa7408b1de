"""The sandbox's own endpoints under `/_sandbox`, with which tests and the demo control it."""

from collections.abc import Callable
from dataclasses import asdict, fields, replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing_app.stripe_sandbox.api import Api
from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.due import run_due
from billing_app.stripe_sandbox.errors import Json, StripeError, invalid
from billing_app.stripe_sandbox.resources.checkout_payment import decide_debit
from billing_app.stripe_sandbox.resources.coupons import put_on_customer
from billing_app.stripe_sandbox.resources.disputes import new_dispute
from billing_app.stripe_sandbox.resources.events import new_endpoint
from billing_app.stripe_sandbox.webhooks import Deliverer
from billing_app.stripe_sandbox.world import Settings, World

_SETTLE_SECONDS = 10.0
_MAX_SKIP_SECONDS = 400 * 86_400


class Control:
    """The handlers of the control endpoints; each answers JSON."""

    def __init__(self, world: World, api: Api, deliverer: Deliverer) -> None:
        self.world, self.api, self.deliverer = world, api, deliverer

    def routes(self) -> list[Route]:
        return [
            Route("/_sandbox/health", self.health, methods=["GET"]),
            Route("/_sandbox/violations", self.violations, methods=["GET", "DELETE"]),
            Route("/_sandbox/faults", self.change_faults, methods=["GET", "POST", "DELETE"]),
            Route("/_sandbox/settings", self.change_settings, methods=["GET", "POST"]),
            Route("/_sandbox/requests", self.requests, methods=["GET"]),
            Route("/_sandbox/deliveries", self.deliveries, methods=["GET"]),
            Route("/_sandbox/settle", self.settle, methods=["POST"]),
            Route("/_sandbox/disputes", self.dispute, methods=["POST"]),
            Route("/_sandbox/customer_discounts", self.discount, methods=["POST"]),
            Route("/_sandbox/debits", self.debit, methods=["POST"]),
            Route("/_sandbox/clock", self.skip_time, methods=["POST"]),
            Route("/_sandbox/test_clocks/{id}/release", self.release, methods=["POST"]),
            Route("/_sandbox/events/{id}/resend", self.resend, methods=["POST"]),
            Route("/_sandbox/webhook_endpoints", self.endpoint, methods=["POST"]),
            Route("/_sandbox/reset", self.reset, methods=["POST"]),
        ]

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "objects": len(self.world.store.objects)})

    async def violations(self, request: Request) -> Response:
        """All requests and answers that broke Stripe's contract."""
        found = list(self.world.violations)
        if request.method == "DELETE":
            self.world.violations.clear()
        return JSONResponse({"violations": found})

    async def change_faults(self, request: Request) -> Response:
        faults = self.deliverer.faults
        if request.method == "DELETE":
            faults.clear()
        elif request.method == "POST":
            try:
                faults.add(await _body(request))
            except StripeError as error:
                return _refused(error)
        return JSONResponse({"faults": faults.dump()})

    async def change_settings(self, request: Request) -> Response:
        if request.method == "POST":
            changes = await _body(request)
            known = {entry.name for entry in fields(Settings)}
            if unknown := changes.keys() - known:
                return _refused(invalid(f"Unknown settings: {', '.join(sorted(unknown))}"))
            self.world.settings = replace(self.world.settings, **changes)
            self.world.note_change()
        return JSONResponse(asdict(self.world.settings))

    async def requests(self, request: Request) -> Response:
        return JSONResponse({"requests": list(self.api.log)})

    async def deliveries(self, request: Request) -> Response:
        return JSONResponse({"deliveries": list(self.deliverer.record)})

    async def settle(self, request: Request) -> Response:
        """Answers once all webhooks are sent; `{"retries": true}` waits for retries as well."""
        body = await _body(request)
        done = await self.deliverer.settle(
            float(body.get("timeout_seconds", _SETTLE_SECONDS)),
            retries=bool(body.get("retries", False)),
        )
        return JSONResponse({"settled": done}, 200 if done else 504)

    async def dispute(self, request: Request) -> Response:
        body = await _body(request)
        reason = body.get("reason", "fraudulent")
        return self._act(
            lambda: public(
                new_dispute(self.world, body.get("charge", ""), reason, body.get("amount"))
            )
        )

    async def discount(self, request: Request) -> Response:
        """Puts a coupon on a customer, as older API versions did."""
        body = await _body(request)
        return self._act(
            lambda: public(put_on_customer(self.world, body["customer"], body["coupon"]))
        )

    async def debit(self, request: Request) -> Response:
        """The bank's decision on a debit that is processing."""
        body = await _body(request)
        intent_id, succeeds = body.get("payment_intent", ""), bool(body.get("succeeds", True))
        return self._act(lambda: public(decide_debit(self.world, intent_id, succeeds=succeeds)))

    async def skip_time(self, request: Request) -> Response:
        """Moves the sandbox's own time forward, for customers without a test clock."""
        seconds = int((await _body(request)).get("advance_seconds", 0))
        if not 0 <= seconds <= _MAX_SKIP_SECONDS:
            return _refused(invalid(f"advance_seconds must be 0 to {_MAX_SKIP_SECONDS}."))
        self.world.skipped_seconds += seconds
        self.world.note_change()
        return self._act(
            lambda: {
                "happened": run_due(self.world, None, self.world.real_now()),
                "now": self.world.real_now(),
            }
        )

    async def release(self, request: Request) -> Response:
        """Moves everything on a test clock to the sandbox's own time, as if it had no clock."""
        clock_id, store = request.path_params["id"], self.world.store
        held = [each["id"] for each in store.objects.values() if each.get("test_clock") == clock_id]
        for identifier in held:
            store.edit(identifier)["test_clock"] = None
        return JSONResponse({"released": len(held)})

    async def resend(self, request: Request) -> Response:
        event = self.world.store.find(request.path_params["id"])
        if event is None or event["object"] != "event":
            return JSONResponse({"error": "no such event"}, 404)
        self.deliverer.resend(event)
        return JSONResponse({"resent": event["id"]})

    async def endpoint(self, request: Request) -> Response:
        """Creates a webhook endpoint with a chosen secret; replaces the one with the same URL."""
        body = await _body(request)
        for old in self.world.store.all("webhook_endpoint", lambda e: e["url"] == body["url"]):
            self.world.store.edit(old["id"])["_deleted"] = True
        wanted = {"enabled_events": body.get("enabled_events", ["*"]), "url": body["url"]}
        made = new_endpoint(self.world, wanted, body.get("secret"))
        return JSONResponse({**public(made), "secret": made["_secret"]})

    async def reset(self, request: Request) -> Response:
        """Forgets everything: objects, idempotency keys, faults, settings, time, logs."""
        self.world.reset()
        self.api.keys.answers.clear()
        self.api.log.clear()
        self.deliverer.faults.clear()
        self.deliverer.record.clear()
        return JSONResponse({"reset": True})

    def _act(self, step: Callable[[], Json]) -> Response:
        try:
            with self.world.store.savepoint():
                return JSONResponse(step())
        except StripeError as error:
            return _refused(error)
        finally:
            self.deliverer.take_new_events()


async def _body(request: Request) -> Json:
    raw = await request.body()
    return await request.json() if raw else {}


def _refused(error: StripeError) -> Response:
    return JSONResponse({"error": error.error}, error.status)
