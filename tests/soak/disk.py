"""A small file system that can be filled, for the database of a soak."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BALLAST = "ballast"
BLOCK = b"\0" * 65_536


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[str]:
    """A tmpfs at the directory; gives why there is none, or ""."""
    options = f"size={megabytes}m,mode=0755"
    command = ["mount", "-t", "tmpfs", "-o", options, "billing-soak", str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        reason = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        reason = str(error)
    try:
        yield reason
    finally:
        if not reason:
            subprocess.run(["umount", "--lazy", str(directory)], check=False)


def fill(directory: Path) -> None:
    """Until not a byte is left."""
    with (directory / BALLAST).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(BLOCK)
        except OSError:
            os.fsync(file.fileno())


def clear(directory: Path) -> None:
    (directory / BALLAST).unlink(missing_ok=True)
