"""A service that is killed: threads that count from a lease, and write a byte for each count."""

import os
import sys
import threading
from pathlib import Path

from billing_app.client import Billing, LeaseTerms


def main() -> None:
    url, key, organization_id, directory, threads = sys.argv[1:]
    terms = LeaseTerms(Path(directory), executions=300, settle_seconds=0.02)
    billing = Billing(url, key, outage="lease", leases=terms)
    lease = billing.lease(organization_id)

    def work(number: int) -> None:
        while True:
            if number % 2 and lease.consume(workflow=f"w{number}"):
                os.write(1, b".")
            else:
                with billing.run(organization_id, workflow=f"w{number}"):
                    pass
                os.write(1, b".")

    for number in range(int(threads)):
        threading.Thread(target=work, args=[number], daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
