"""The site of compose.yaml as processes on this machine: its commands, its environment."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.deploy.caddy import proxy
from tests.deploy.caddy import variables as caddy_variables
from tests.deploy.compose import DOT_ENV, Service, dockerfile_command, services
from tests.fork_server import AppProcess
from tests.processes import free_port, run_command, start_command, wait_until_ready

# What an image has besides the environment of compose.yaml.
OF_THE_IMAGE: Final = ("PATH", "HOME", "TMPDIR", "LANG")
PUBLISHED: Final = "127.0.0.1"
ENDS_WITHIN_SECONDS: Final = 30.0


class Replica:
    """One process of a service; it can be ended in either way, and started again."""

    def __init__(self, service: Service, environment: dict[str, str], log: Path) -> None:
        self._command = service.command
        self._environment = environment
        self._log = log
        self.port = free_port()
        self._process: AppProcess | None = None

    @property
    def url(self) -> str:
        return f"http://{PUBLISHED}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def has_port(self) -> bool:
        return "--host" in self._command

    def start(self) -> None:
        port = ("--port", str(self.port)) if self.has_port else ()
        with self._log.open("a") as log:
            self._process = start_command(self._environment, *self._command, *port, log=log)

    def wait_until_ready(self) -> None:
        assert self._process is not None
        if self.has_port:
            wait_until_ready(self.url, self._process)

    def stop(self) -> None:
        """SIGTERM, and nothing worse, as an orchestrator does first."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(ENDS_WITHIN_SECONDS)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(ENDS_WITHIN_SECONDS)

    def is_healthy(self) -> bool:
        """What the image's own health check says, asked of this replica's port."""
        check = [word.replace(":3000/", f":{self.port}/") for word in health_check()]
        return subprocess.run(check, check=False, capture_output=True).returncode == 0

    def log(self) -> str:
        return self._log.read_text()


class Site:
    """All replicas, and Caddy in front of those that have a port."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, **more: str) -> None:
        """`more` are settings that .env adds."""
        self._port = free_port()
        self.url = f"http://{PUBLISHED}:{self._port}"
        self._folder = folder
        self._more = more
        self._services = services()
        self.replicas = {
            name: [self._replica(name, number, database_url, redis_url) for number in range(count)]
            for name, count in self._counts().items()
        }
        self.migration = self._environment("migrate", database_url, redis_url)

    def migrate(self) -> None:
        done = run_command(self.migration, *self._services["migrate"].command)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def running(self, caddy: str, *names: str) -> Iterator[None]:
        """These services, and Caddy; ready when it begins, and stopped at its end."""
        with ExitStack() as stack:
            started = [replica for name in names for replica in self.replicas[name]]
            for replica in started:
                replica.start()
                stack.callback(replica.stop)
            for replica in started:
                replica.wait_until_ready()
            ports = {name: [each.port for each in self.replicas[name]] for name in ("api", "pages")}
            given = self._services["caddy"].environment
            assert caddy_variables(self.url, [], []).keys() >= given.keys()
            stack.enter_context(proxy(caddy, **ports, port=self._port))
            yield

    def _counts(self) -> dict[str, int]:
        return {name: self._services[name].replicas for name in ("api", "pages", "worker")}

    def _replica(self, name: str, number: int, database_url: str, redis_url: str) -> Replica:
        environment = self._environment(name, database_url, redis_url)
        log = self._folder / f"{name}-{number}.log"
        return Replica(self._services[name], environment, log)

    def _environment(self, name: str, database_url: str, redis_url: str) -> dict[str, str]:
        """What compose.yaml gives the service, with the addresses of this machine."""
        here = {
            "DATABASE_URL": database_url,
            "REFLEX_REDIS_URL": redis_url,
            "PUBLIC_URL": self.url,
            "TRUSTED_PROXIES": PUBLISHED,
        }
        given = self._services[name].environment
        assert given.keys() == here.keys() | (DOT_ENV.keys() & given.keys())
        image = {key: os.environ[key] for key in OF_THE_IMAGE if key in os.environ}
        return image | given | here | self._more


def health_check() -> list[str]:
    """The command of the Dockerfile, by this interpreter."""
    python, *arguments = dockerfile_command("HEALTHCHECK")
    assert python == "python"
    return [sys.executable, *arguments]
