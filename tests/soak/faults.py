"""What goes wrong during a soak, one after another; each mends itself before the next."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psutil

from tests.deploy.site import Replica
from tests.soak import disk
from tests.soak.scene import Scene

AWAY_SECONDS: Final = 10.0
HANG_SECONDS: Final = 8.0
MONTH_SECONDS: Final = 31 * 86_400

Act = Callable[[Scene], None]
Missing = Callable[[Scene], str]


@dataclass(frozen=True, slots=True)
class Fault:
    """`act` returns once it has mended itself; `missing` says why it cannot be had here."""

    name: str
    act: Act
    missing: Missing = lambda _: ""


def restart_database(scene: Scene) -> None:
    scene.server.stop()
    time.sleep(AWAY_SECONDS)
    scene.server.start()


def kill_database(scene: Scene) -> None:
    scene.server.kill()
    scene.server.start()


def hang_database(scene: Scene) -> None:
    scene.server.freeze()
    time.sleep(HANG_SECONDS)
    scene.server.thaw()


def fill_disk(scene: Scene) -> None:
    """PostgreSQL may give up; whoever looks after it starts it once there is room."""
    disk.fill(scene.disk)
    time.sleep(AWAY_SECONDS)
    disk.clear(scene.disk)
    if not scene.server.is_running():
        scene.server.start()


def kill_redis(scene: Scene) -> None:
    scene.redis.kill()
    time.sleep(AWAY_SECONDS)
    scene.redis.start()


def restart_stripe(scene: Scene) -> None:
    scene.stripe.stop()
    time.sleep(AWAY_SECONDS)
    scene.stripe.start()


def hang_stripe(scene: Scene) -> None:
    process = psutil.Process(scene.stripe.process.process.pid)
    process.suspend()
    time.sleep(HANG_SECONDS)
    process.resume()


def jump_clock(scene: Scene) -> None:
    """A month passes at Stripe and not here: every subscription renews at once."""
    scene.stripe.process.control("clock", advance_seconds=MONTH_SECONDS)


def kill(name: str) -> Act:
    """The first replica of a service; the second lives all the time, and shows its memory."""

    def act(scene: Scene) -> None:
        replica: Replica = scene.site.replicas[name][0]
        replica.kill()
        time.sleep(AWAY_SECONDS)
        replica.start()
        replica.wait_until_ready()

    return act


FAULTS: Final = (
    Fault("API server killed", kill("api")),
    Fault("a month passes at Stripe", jump_clock),
    Fault("database restarted, 10 s away", restart_database),
    Fault("worker killed", kill("worker")),
    Fault("Stripe unreachable for 10 s", restart_stripe),
    Fault("database killed", kill_database),
    Fault("Redis killed, 10 s away", kill_redis),
    Fault("page server killed", kill("pages")),
    Fault("Stripe silent for 8 s", hang_stripe),
    Fault("database silent for 8 s", hang_database),
    Fault("disk of the database full for 10 s", fill_disk, lambda scene: scene.disk_missing),
)
