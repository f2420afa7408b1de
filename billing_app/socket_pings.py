"""Ends the ping of a websocket together with the websocket.

Engine.IO lets the next ping sleep through its whole interval (25 s) after its socket has closed,
and with it some 6 kB for each: a flood of short visits would fill the memory.
"""

from asyncio import Task
from collections.abc import Callable
from typing import Any

from engineio import AsyncServer
from engineio.async_socket import AsyncSocket


def end_pings_with_sockets(server: AsyncServer) -> None:
    """To be called once, when the handler of "disconnect" is in place."""
    start = server.start_background_task
    on_disconnect = server.handlers["disconnect"]
    pings: dict[str, Task[Any]] = {}

    def start_background_task(
        target: Callable[..., Any], *args: object, **kwargs: object
    ) -> Task[Any]:
        task = start(target, *args, **kwargs)
        socket = getattr(target, "__self__", None)
        if isinstance(socket, AsyncSocket):
            sid = socket.sid
            pings[sid] = task
            task.add_done_callback(lambda _: pings.pop(sid, None))
        return task

    async def end_ping(sid: str, reason: str) -> None:
        if sid in pings:
            pings[sid].cancel()
        await on_disconnect(sid, reason)

    server.start_background_task = start_background_task
    server.on("disconnect", end_ping)
