"""CPU time of a process and everything under it."""

import contextlib

import psutil


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants, ended ones included; 0 for pid 0."""
    if not pid:
        return 0.0
    parent = psutil.Process(pid)
    total = 0.0
    for process in (parent, *parent.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
