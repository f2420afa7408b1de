#!/bin/sh
# python-engineio 4.15.1 (asyncio).
#
# A server pings each socket every `ping_interval` seconds (25 by default). The task that waits for
# the next ping is not cancelled when its socket closes: it holds the closed socket, its queue and
# its context, some 6 kB, until the interval is over. Many short visits add up: at 400 a second
# 10,000 closed sockets are kept.
#
# Seen: "sockets of the server: 0", "closed sockets in memory: 1000", "after the interval: 0".
# Fails when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check 'python-engineio==4.15.1'
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import asyncio
import gc

from engineio import ASGIApp, AsyncServer
from engineio.async_socket import AsyncSocket

VISITS = 1000
PING_SECONDS = 5
SCOPE = {
    "type": "websocket",
    "path": "/",
    "query_string": b"EIO=4&transport=websocket",
    "headers": [(b"upgrade", b"websocket"), (b"connection", b"upgrade")],
}


async def visit(app):
    messages = asyncio.Queue()
    messages.put_nowait({"type": "websocket.connect"})
    messages.put_nowait({"type": "websocket.disconnect"})

    async def send(message):
        pass

    await app(SCOPE, messages.get, send)


def in_memory():
    gc.collect()
    return sum(type(each) is AsyncSocket for each in gc.get_objects())


async def main():
    server = AsyncServer(async_mode="asgi", ping_interval=PING_SECONDS, monitor_clients=False)
    app = ASGIApp(server, engineio_path="/")
    for _ in range(VISITS):
        await visit(app)
    print("sockets of the server:", len(server.sockets))
    print("closed sockets in memory:", in_memory())
    await asyncio.sleep(PING_SECONDS + 1)
    print("after the interval:", in_memory())


asyncio.run(main())
PYTHON
grep -qx 'sockets of the server: 0' "$folder/seen"
grep -qx 'closed sockets in memory: 1000' "$folder/seen"
grep -qx 'after the interval: 0' "$folder/seen"
