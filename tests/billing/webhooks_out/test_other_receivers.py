"""Receivers that nobody here wrote verify a day of events: npm's `standardwebhooks` and `svix`."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import NewEvent, append
from billing_app.billing.webhooks_out.endpoints import CHOICES, EndpointFields, WebhookEndpoints
from billing_app.db.engine import Database
from tests.billing.webhooks_out.receivers import Receiver, receiving
from tests.billing.webhooks_out.simulated import Simulated
from tests.factories import OPERATOR, organization

HOURS: Final = 24
PACKAGES: Final = ("standardwebhooks@1.1.1", "svix@2.5.0")
VERIFY: Final = Path(__file__).with_name("verify.mjs")
WORDS: Final = ("Zoë & Söhne", '"quoted" \\ back', "日本", "a/b?c=d", "\u2028")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both packages; skips where they cannot be installed."""
    npm = shutil.which("npm", path=str(Path(sys.executable).parent)) or shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"private": true}')
    try:
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES],
            cwd=folder,
            env=node_environment(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm's registry does not answer")
    if done.returncode:
        pytest.skip(f"npm cannot install: {done.stderr[-200:]}")
    shutil.copy(VERIFY, folder)
    return folder


def node_environment() -> dict[str, str]:
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


async def deliver_a_day(url: str) -> dict[str, Any]:
    """What an endpoint receives of events of every type in each hour, while its secret is being
    rotated."""
    database = Database(url)
    account = organization(url, 20)
    now = datetime.now(UTC)
    with receiving(Receiver()) as receiver:
        endpoints = WebhookEndpoints(database, allow_private=True)
        fields = EndpointFields(url=receiver.url)
        made = await endpoints.add(OPERATOR, account.organization_id, fields, now)
        rotated = await endpoints.rotate_secret(OPERATOR, made.endpoint.id, now)
        async with database.transaction() as session:
            for number in range(HOURS * len(CHOICES)):
                event_type = EventType(CHOICES[number % len(CHOICES)])
                data = {"hour": number // len(CHOICES), "text": WORDS[number % len(WORDS)]}
                await append(session, account.account_number, NewEvent(event_type, data), now)
        await Simulated(database, now).run(now)
        received = receiver.received
    await database.dispose()
    return {
        "secrets": [made.secret, rotated.secret],
        "deliveries": [{"headers": each.headers, "body": each.body.decode()} for each in received],
    }


async def test_receivers_of_others_verify_a_day_of_events(
    packages: Path, own_database_url: str
) -> None:
    day = await deliver_a_day(own_database_url)
    deliveries = HOURS * len(CHOICES)
    assert len(day["deliveries"]) == deliveries
    (packages / "day.json").write_text(json.dumps(day))
    done = await asyncio.to_thread(
        subprocess.run,
        ["node", "verify.mjs", "day.json"],
        cwd=packages,
        env=node_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"verified": 4 * deliveries, "refused": 8 * deliveries}
