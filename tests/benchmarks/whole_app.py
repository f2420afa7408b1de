"""`python -m billing_app serve`, pages and API in one process, as a benchmark's server."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from billing_app.serving import build_pages
from tests.benchmarks.harness import BenchmarkHarness
from tests.processes import free_port, start_command, wait_until_ready


@dataclass(frozen=True, slots=True)
class WholeApp:
    """`secret` is of a key; `public_organization`: whose users it checks; "": the harness's."""

    port: int
    pid: int
    secret: str
    public_organization: str = ""

    @property
    def base_url(self) -> str:
        return f"http://localhost:{self.port}"

    def memory_bytes(self) -> int:
        """Of the process that answers."""
        process = psutil.Process(self.pid)
        processes = [process, *process.children(recursive=True)]
        return max(each.memory_info().rss for each in processes)


@contextmanager
def serving_whole_app(bed: BenchmarkHarness, settings: Mapping[str, str]) -> Iterator[WholeApp]:
    build_pages()
    port = free_port()
    environment = {**os.environ, **bed.environment, "PUBLIC_URL": f"http://localhost:{port}"}
    with (
        tempfile.TemporaryDirectory() as directory,
        (Path(directory) / "server.log").open("w") as log,
    ):
        arguments = ("serve", "--port", str(port))
        process = start_command({**environment, **settings}, *arguments, log=log)
        try:
            app = WholeApp(port, process.pid, bed.secret)
            wait_until_ready(app.base_url, process)
            yield app
        finally:
            process.terminate()
            process.wait(timeout=20)
