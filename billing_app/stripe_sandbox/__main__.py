"""`python -m billing_app.stripe_sandbox --port 12111`: runs the sandbox on loopback."""

import contextlib
import sys

from billing_app.stripe_sandbox.serving import parse, server_for


def main() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        server_for(parse(sys.argv[1:])).run()


if __name__ == "__main__":
    main()
