"""`GET /metrics`: the figures of this server for Prometheus. Answers without a database, too."""

import os
import re
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    generate_latest,
    multiprocess,
)

from billing_app.api.callers import Now, ServicesNow
from billing_app.jobs.operating_figures import FiguresCollector, FiguresReader
from billing_app.routes import METRICS

SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"
LIVE_FILE: Final = re.compile(r"gauge_live\w+_(\d+)\.db")

figures: Final = FiguresReader()
router = APIRouter()


@router.get(METRICS, tags=["health"], response_class=PlainTextResponse)
async def metrics(services: ServicesNow, now: Now) -> Response:
    """Prometheus metrics: of this process, or of all workers of this server; and of the database,
    a few seconds old. `billing_database_up` is 0 when it does not answer."""
    registry = CollectorRegistry()
    registry.register(FiguresCollector(await figures.read(services.database, now)))
    text = generate_latest(registry) + generate_latest(own_registry())
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def own_registry() -> CollectorRegistry:
    """Of this process; of all workers of one server where they share a directory."""
    directory = os.environ.get(SHARED)
    if not directory:
        return REGISTRY
    _forget_ended(Path(directory))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # pyright: ignore[reportUnknownMemberType]
    return registry


def _forget_ended(directory: Path) -> None:
    """The gauges of a worker end with it."""
    for path in directory.iterdir():
        match = LIVE_FILE.fullmatch(path.name)
        if match and not _is_running(int(match[1])):
            path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
