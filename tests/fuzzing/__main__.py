"""`python -m tests.fuzzing`: forge requests over every route until the time is up."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from billing_app.db import migrations
from billing_app.db.embedded import start_embedded
from tests.conftest import WITHOUT_DURABILITY
from tests.databases import create_database
from tests.fuzzing.requests import Fuzzer
from tests.fuzzing.scene import open_scene
from tests.stripe_sandbox.running import Sandbox, free_port

MINUTES: Final = 3.0
EXAMPLES: Final = 4


def main() -> int:
    arguments = _arguments()
    sandbox = Sandbox(free_port())
    with tempfile.TemporaryDirectory(prefix="billing-fuzzing-") as directory:
        Path(directory).chmod(0o755)
        server_url = start_embedded(Path(directory) / "postgres", WITHOUT_DURABILITY)
        url = create_database(server_url, "fuzzing")
        migrations.upgrade(url)
        scene = asyncio.run(open_scene(sandbox, url))
        try:
            return _run(Fuzzer(scene), arguments.minutes * 60, arguments.seed, arguments.only)
        finally:
            scene.storefront.stop()
            sandbox.stop()


def _run(fuzzer: Fuzzer, seconds: float, first_seed: int, only: str) -> int:
    """Rounds over all operations, each with other requests."""
    ends_at = time.monotonic() + seconds
    operations = [each for each in fuzzer.operations() if only in each.label]
    rounds = 0
    while time.monotonic() < ends_at:
        for operation in operations:
            fuzzer.fuzz(operation, examples=EXAMPLES, first_seed=first_seed + rounds)
            if rounds and time.monotonic() > ends_at:
                break
        rounds += 1
    for fault in fuzzer.faults:
        print(fault, end="\n\n")
    print(
        f"{fuzzer.sent:,} requests to {len(operations)} operations ({fuzzer.accepted:,} accepted,"
        f" {rounds} rounds, seed {first_seed}): {len(fuzzer.faults)} faults"
    )
    return 1 if fuzzer.faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--seed", type=int, default=0, help="other requests, the same each time")
    parser.add_argument("--only", default="", metavar="TEXT", help="of an operation, as PUT /a/b")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
