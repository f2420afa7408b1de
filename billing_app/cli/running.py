"""What every command stands on: the configured database, and services for as long as it takes."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from rich.console import Console

from billing_app.composition import Services, build_services
from billing_app.db import migrations
from billing_app.db.embedded import database_url
from billing_app.settings import enter_demo_of_data, load_settings

Result = TypeVar("Result")
out = Console(highlight=False, soft_wrap=True)


def look_after(work: Callable[[Services], Awaitable[Result]]) -> Result:
    """Do the work on the configured database, or without settings on the demo's."""
    enter_demo_of_data()
    return run(work)


def run(work: Callable[[Services], Awaitable[Result]]) -> Result:
    """Do the work with services of its own, on a database that is not behind."""

    async def with_services() -> Result:
        url = resolve_database()
        migrations.require_current(url)
        services = build_services(load_settings(), url)
        try:
            return await work(services)
        finally:
            await services.close()

    return asyncio.run(with_services())


def resolve_database() -> str:
    """The database's URL, also for child processes; starts the embedded server if need be."""
    url = database_url(load_settings())
    os.environ["DATABASE_URL"] = url
    load_settings.cache_clear()
    return url


def now() -> datetime:
    return datetime.now(UTC)
