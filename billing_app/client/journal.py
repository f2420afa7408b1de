"""Counts on disk that survive `kill -9`: a memory-mapped file for each lease.

A process writes to its own files only, and holds a lock on each. Whoever starts next takes over the
files whose process is gone. An increment is one aligned write of eight bytes, so that it is there
or not. The space is allocated beforehand: a full disk stops a lease from beginning, not a count.
"""

import asyncio
import contextlib
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from datetime import date
from itertools import count
from pathlib import Path
from time import time_ns
from typing import Final, NamedTuple

import msgspec

MAGIC: Final = b"billing-lease-1\n"
SUFFIX: Final = ".lease"
UNSETTLED: Final = ".unsettled"
MAX_LINES: Final = 8_192
# After the magic: the number of lines and, for request and lease, length and text.
LINES_AT: Final = 16
TEXTS_AT: Final = (64, 16_384)
TEXT_BYTES: Final = 16_000
COUNTS_AT: Final = 32_768
NAMES_AT: Final = COUNTS_AT + 8 * MAX_LINES
NAMES_BYTES: Final = 1 << 20
FILE_BYTES: Final = NAMES_AT + NAMES_BYTES

_numbers: Final = count()


class Line(NamedTuple):
    """What counts are split by: "" for none; the UTC day."""

    workflow: str
    user_id: str
    day: date


class JournalFullError(Exception):
    """It has no room for another line."""


class JournalBusyError(Exception):
    """Another process has it."""


class Journal:
    """One file. Its owner holds the lock of its lease around every call but the flushes."""

    def __init__(self, path: Path, *, is_new: bool) -> None:
        """Raises JournalBusyError, OSError, and ValueError for a file of another kind."""
        self.path = path
        self._file = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if is_new else 0), 0o600)
        try:
            _lock(self._file)
            if is_new:
                _allocate(self._file)
            self._map = mmap.mmap(self._file, FILE_BYTES)
        except BaseException:
            os.close(self._file)
            raise
        if is_new:
            self._map[: len(MAGIC)] = MAGIC
        elif self._map[: len(MAGIC)] != MAGIC:
            self.close()
            raise ValueError(f"{path} is no journal of leases")
        whole = memoryview(self._map)
        self.counts = whole[COUNTS_AT:NAMES_AT].cast("Q")
        self._header = whole[LINES_AT : LINES_AT + 8].cast("Q")
        self._whole = whole
        self._names_end = NAMES_AT
        self.lines: dict[Line, int] = {}
        self._read_lines()
        self.flusher = Flusher(self._file)

    @classmethod
    def create(cls, directory: Path) -> "Journal":
        directory.mkdir(parents=True, exist_ok=True)
        name = f"{os.getpid()}-{time_ns():x}-{next(_numbers)}{SUFFIX}"
        return cls(directory / name, is_new=True)

    @classmethod
    def abandoned(cls, directory: Path) -> Iterator["Journal"]:
        """The files whose process is gone."""
        for path in sorted(directory.glob(f"*{SUFFIX}")):
            try:
                yield cls(path, is_new=False)
            except (JournalBusyError, ValueError, OSError):
                continue

    def slot(self, line: Line) -> int:
        """Where the line is counted. Raises JournalFullError."""
        slot = self.lines.get(line)
        return self._add(line) if slot is None else slot

    def totals(self) -> dict[Line, int]:
        """What is counted."""
        return {line: self.counts[slot] for line, slot in self.lines.items() if self.counts[slot]}

    def write_text(self, place: int, text: bytes) -> None:
        """Place 0 is the request for the lease, 1 the lease. On disk when this returns."""
        if len(text) > TEXT_BYTES:
            raise ValueError("too long for a journal")
        start = TEXTS_AT[place]
        self._map[start + 8 : start + 8 + len(text)] = text
        self._map[start : start + 8] = len(text).to_bytes(8, "little")
        os.fsync(self._file)

    def read_text(self, place: int) -> bytes:
        start = TEXTS_AT[place]
        length = int.from_bytes(self._map[start : start + 8], "little")
        return self._map[start + 8 : start + 8 + length]

    def close(self) -> None:
        """The file stays."""
        if hasattr(self, "flusher"):
            self.flusher.close()
        for view in ("counts", "_header", "_whole"):
            if hasattr(self, view):
                getattr(self, view).release()
        self._map.close()
        os.close(self._file)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.close()

    def set_aside(self) -> None:
        """Keep what the server refused to count, where nobody sends it again."""
        with contextlib.suppress(OSError):
            self.path.rename(self.path.with_suffix(UNSETTLED))
        self.close()

    def _add(self, line: Line) -> int:
        slot = len(self.lines)
        name = msgspec.json.encode(line) + b"\n"
        if slot == MAX_LINES or self._names_end + len(name) > FILE_BYTES:
            raise JournalFullError
        self._map[self._names_end : self._names_end + len(name)] = name
        self._names_end += len(name)
        self.lines[line] = slot
        # The line is there from now on: its name was written before.
        self._header[0] = slot + 1
        return slot

    def _read_lines(self) -> None:
        for slot in range(self._header[0]):
            end = self._map.find(b"\n", self._names_end) + 1
            self.lines[_decode_line(self._map[self._names_end : end])] = slot
            self._names_end = end


class Flusher:
    """Brings a file to disk. Who asks while a flush is under way shares the next one."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._condition = threading.Condition()
        self._asked = self._done = 0
        self._is_flushing = False
        self._is_closed = False
        self._following: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def wait(self) -> None:
        """Until all that was counted before is on disk. Raises OSError."""
        with self._condition:
            self._asked += 1
            mine = self._asked
            while self._done < mine:
                if self._is_flushing:
                    self._condition.wait()
                    continue
                self._is_flushing = True
                covered = self._asked
                self._condition.release()
                try:
                    self._to_disk()
                finally:
                    self._condition.acquire()
                    self._is_flushing = False
                    self._condition.notify_all()
                self._done = covered

    async def wait_async(self) -> None:
        """The same for asyncio."""
        if self._following is None:
            self._following = asyncio.get_running_loop().create_future()
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._flush(), name="billing lease flush")
        await asyncio.shield(self._following)

    async def _flush(self) -> None:
        while self._following is not None:
            asked, self._following = self._following, None
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._to_disk)
            except OSError as error:
                asked.set_exception(error)
            else:
                asked.set_result(None)

    def close(self) -> None:
        """What was counted is settled: nobody has to wait for the disk."""
        self._is_closed = True

    def _to_disk(self) -> None:
        if not self._is_closed:
            _to_disk(self._file)


class Flush:
    """A step of a conversation: go on when what was counted is on disk."""

    def __init__(self, flusher: Flusher) -> None:
        self.flusher = flusher


_decode_line: Final = msgspec.json.Decoder(Line).decode


# Linux has both of these, macOS neither.
_to_disk: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)


def _allocate(file: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, FILE_BYTES)
    else:
        os.write(file, bytes(FILE_BYTES))


def _lock(file: int) -> None:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalBusyError from None
