"""An API that sends mail, with its worker, and the mailbox that takes it."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.api.server import ApiServer
from tests.mailbox import Mailbox
from tests.processes import free_port, start_command


@contextmanager
def running_mailbox() -> Iterator[Mailbox]:
    box = Mailbox(free_port())
    box.start()
    try:
        yield box
    finally:
        box.stop()


@contextmanager
def mailed_site(url: str, mailbox: Mailbox) -> Iterator[ApiServer]:
    started = ApiServer(url)
    started.environment |= mailbox.environment | {"PUBLIC_URL": started.url}
    worker = start_command(started.environment, "worker")
    try:
        started.start()
        yield started
    finally:
        worker.terminate()
        worker.communicate(timeout=20)
        started.stop()
