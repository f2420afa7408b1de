"""A service that receives webhooks, and answers as it is told."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"


@dataclass
class Receiver:
    """`answer`: the status of its next responses."""

    answer: int = 204
    bodies: list[str] = field(default_factory=list[str])
    ids: list[str] = field(default_factory=list[str])
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://{HOST}:{self._server.server_port}/billing-events"

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                receiver.bodies.append(self.rfile.read(length).decode())
                receiver.ids.append(self.headers["webhook-id"])
                self.send_response(receiver.answer)
                if receiver.answer != 204:
                    text = b"out of order"
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                else:
                    self.end_headers()

            def log_message(self, format: str, *_: Any) -> None:  # noqa: A002
                del format

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
