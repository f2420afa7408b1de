"""The billing API as one ASGI app: hot routes in front, FastAPI behind. Runs without Reflex."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from billing_app import __version__
from billing_app.api import (
    account_history,
    alerts,
    body_limit,
    demo_mail,
    docs,
    email_links,
    errors,
    granted_plans,
    head_requests,
    health,
    hot_routes,
    invitations,
    leases,
    metrics,
    openapi,
    organizations,
    overage,
    password_resets,
    plans,
    portal_links,
    receipts,
    request_guard,
    request_limits,
    sign_in,
    staff,
    subscriptions,
    top_ups,
    unsubscribe,
    usage,
    users,
    webhook_endpoints,
    webhooks,
)
from billing_app.api.polled_reads import PolledReads
from billing_app.api.process_gauges import sampling
from billing_app.api.read_turns import ReadTurns
from billing_app.api.request_log import RequestLog
from billing_app.api.security_headers import SecurityHeaders
from billing_app.api.traced_requests import TracedRequests
from billing_app.billing.accounts.service import ensure_public_organization
from billing_app.composition import Services, get_services
from billing_app.db.migrations import require_current
from billing_app.routes import OPENAPI


def create_app() -> "request_limits.RequestLimits":
    """The ASGI app. It connects to nothing before startup or the first request."""
    api = FastAPI(
        title="Billing",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=OPENAPI,
        lifespan=_lifespan,
        redirect_slashes=False,
        # Its spans have paths and queries, with tokens of mailed links: ours do not.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    reading = (health, metrics, plans, leases, usage, receipts, account_history)
    paying = (subscriptions, overage, top_ups, webhooks)
    provisioning = (organizations, users, granted_plans, portal_links)
    signing_in = (sign_in, password_resets, email_links, invitations)
    telling = (webhook_endpoints, alerts, unsubscribe, demo_mail)
    for module in (*reading, *paying, *provisioning, *telling, *signing_in, *staff.modules):
        api.include_router(module.router)
    errors.install(api)
    openapi.install(api)
    docs.install(api)
    guarded = head_requests.HeadAsGet(request_guard.RequestGuard(body_limit.BodyLimit(api)))
    reads = SecurityHeaders(ReadTurns(PolledReads(guarded, get_services)))
    answering = TracedRequests(hot_routes.HotRoutes(RequestLog(reads), get_services))
    limits = request_limits.RequestLimits(answering)
    api.state.active_requests = lambda: limits.active
    return limits


async def prepare(services: Services) -> None:
    """Raise DatabaseBehindError for an outdated database; create the public organization."""
    require_current(services.database.url)
    await ensure_public_organization(services.database, services.terms.public_organization_id)


@asynccontextmanager
async def _lifespan(api: FastAPI) -> AsyncIterator[None]:
    services = get_services()
    await prepare(services)
    async with sampling(services, api.state.active_requests):
        yield
    await services.close()
