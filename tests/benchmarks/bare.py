"""The floor: an ASGI app that reads the body and answers a fixed JSON of our answer's size."""

from typing import Final

from starlette.types import Receive, Scope, Send

ANSWER: Final = (
    b'{"allowed":true,"mode":"consume","executions":1,'
    b'"event_id":"evt_3a5c9d1e7f20b4c6651f2e8a4b3c7","reservation":null,'
    b'"plan":{"id":"pln_3a5c9d1e7f20b4c61","type":"paid","name":"Benchmark"},'
    b'"account_id":"acc_3a5c9d1e7f20b4c6","executions_total":1000000000,'
    b'"executions_used":123456,"executions_held":0,"executions_remaining":999876544,'
    b'"period_end":null}'
)
HEADERS: Final = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(ANSWER)),
]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
