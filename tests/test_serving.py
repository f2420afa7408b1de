"""What a server's worker does before it serves."""

import subprocess
import sys

from tests.conftest import server_environment

LOADED = """
import gc
from billing_app.serving import api_worker
api_worker()
print(gc.get_freeze_count(), len(gc.get_objects()))
"""


def test_worker_collects_only_later_garbage() -> None:
    environment = server_environment("postgresql://nowhere.test/none")
    command = [sys.executable, "-c", LOADED]
    printed = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout
    kept, looked_at = map(int, printed.split())
    assert kept > 50_000
    assert looked_at < kept / 100
