"""Runs a command's work with services on the configured database."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from rich.console import Console

from billing_app.composition import Services, build_services
from billing_app.db import migrations
from billing_app.db.embedded import database_url
from billing_app.db.poolers import PoolerError
from billing_app.settings import enter_demo_of_data, load_settings

Result = TypeVar("Result")
out = Console(highlight=False, soft_wrap=True)


def look_after(work: Callable[[Services], Awaitable[Result]]) -> Result:
    """Run work on the configured database, or on the demo's when no settings are given."""
    enter_demo_of_data()
    return run(work)


def run(work: Callable[[Services], Awaitable[Result]]) -> Result:
    """Run work with its own services. Raises DatabaseBehindError before that."""

    async def with_services() -> Result:
        url = resolve_database()
        migrations.require_current(url)
        services = build_services(load_settings(), url)
        try:
            return await work(services)
        finally:
            await services.close()

    return asyncio.run(with_services())


async def require_decisions(services: Services) -> None:
    """Raise PoolerError when this database connection cannot decide executions."""
    if reason := await services.executions.unready_because():
        raise PoolerError(f"DATABASE_URL cannot be used: {reason}")


def resolve_database() -> str:
    """The database URL, exported to child processes; starts the embedded server if needed."""
    url = database_url(load_settings())
    os.environ["DATABASE_URL"] = url
    load_settings.cache_clear()
    return url


def now() -> datetime:
    return datetime.now(UTC)
