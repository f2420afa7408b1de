#!/bin/sh
# granian 2.8.7.
#
# `http1_settings.header_read_timeout` (30 s by default) closes connections whose headers do not
# arrive. In the default mode `http=auto` it does not close connections that send nothing: telling
# HTTP/2 apart waits for the first bytes without a time limit. `backpressure` such connections
# (1,024 by default) stop the server for everybody, for as long as they like. With `http=1` they are
# closed.
#
# Seen: "auto: part of the headers: closed, nothing: open", "1: part of the headers: closed,
# nothing: closed". Fails when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check 'granian==2.8.7'
cat > "$folder/app.py" <<'PYTHON'
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
PYTHON
cat > "$folder/look.py" <<'PYTHON'
import socket
import subprocess
import sys
import time

SECONDS = 1
WAIT_SECONDS = 6


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def is_closed(port, sent):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(sent)
        connection.settimeout(WAIT_SECONDS)
        try:
            return connection.recv(1000) == b""
        except TimeoutError:
            return False


for mode in ("auto", "1"):
    port = free_port()
    timeout = ["--http1-header-read-timeout", str(SECONDS * 1000)]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--http", mode]
    server = subprocess.Popen([*command, *timeout, "--port", str(port), "app:app"])
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        words = {True: "closed", False: "open"}
        part = words[is_closed(port, b"GET / HTTP/1.1\r\nX: ")]
        nothing = words[is_closed(port, b"")]
        print(f"{mode}: part of the headers: {part}, nothing: {nothing}", flush=True)
    finally:
        server.terminate()
        server.wait()
PYTHON
cd "$folder"
"$folder/venv/bin/python" look.py | tee "$folder/seen"
grep -qx 'auto: part of the headers: closed, nothing: open' "$folder/seen"
grep -qx '1: part of the headers: closed, nothing: closed' "$folder/seen"
