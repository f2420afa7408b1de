"""Liveness and readiness; explanations of problem types."""

import asyncio
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from billing_app import __version__
from billing_app.api.callers import Now, ServicesNow
from billing_app.api.problems import TYPE_BASE, RouteNotFoundError, kinds
from billing_app.billing.errors import BillingError
from billing_app.composition import Services
from billing_app.db.migrations import DatabaseBehindError, require_current
from billing_app.draining import draining
from billing_app.jobs.liveness import is_worker_alive
from billing_app.routes import HEALTH, READY

OK: Final = "ok"
NOT_READY: Final[dict[int | str, dict[str, Any]]] = {
    503: {
        "description": "Not ready; see `checks`",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}

router = APIRouter()


@router.get(HEALTH, tags=["health"])
async def alive() -> dict[str, str]:
    """Liveness: the process responds."""
    return {"status": "alive", "version": __version__}


@router.get(READY, tags=["health"], responses=NOT_READY)
async def ready(services: ServicesNow, now: Now) -> JSONResponse:
    """Readiness: the database responds, is fully migrated, and lets executions be decided. `jobs`
    reports whether a worker is running; executions are decided without one. A server that is
    stopping is not ready, and answers what it is still asked."""
    if draining.is_on:
        return JSONResponse({"status": "stopping", "checks": {}}, 503)
    checks = await _checks(services, now)
    is_ready = checks["database"] == checks["migrations"] == checks["executions"] == OK
    content = {"status": "ready" if is_ready else "not ready", "checks": checks}
    return JSONResponse(content, 200 if is_ready else 503)


async def _checks(services: Services, now: datetime) -> dict[str, str]:
    checks = {"database": OK, "migrations": OK, "executions": "unknown", "jobs": "unknown"}
    try:
        checks["executions"] = await services.executions.unready_because() or OK
        await asyncio.to_thread(require_current, services.database.url)
        checks["jobs"] = OK if await is_worker_alive(services.database, now) else "no worker"
    except DatabaseBehindError:
        checks["migrations"] = "behind"
    except Exception:
        checks["database"] = "unreachable"
    return checks


@router.get(TYPE_BASE + "{code}", tags=["problems"])
async def explain_problem(code: str) -> dict[str, Any]:
    """Explain the `type` of a problem document."""
    for kind in kinds(BillingError):
        if kind.code == code:
            return {"code": code, "title": kind.title, "explanation": (kind.__doc__ or kind.title)}
    raise RouteNotFoundError(f"No problem type has the code {code}.")
