"""Routes whose JSON bodies are read as strictly as the hot routes read theirs."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from billing_app.api import media_types


def no_constant(name: str) -> object:
    """Of `json`'s parse_constant: NaN and Infinity are no JSON. Raises ValueError."""
    raise ValueError(f"{name} is no JSON")


class JsonRequest(Request):
    """A JSON body is `application/json` in UTF-8, without the guesses of `json.loads`."""

    async def json(self) -> Any:
        """Raises ContentTypeError, ValueError, RecursionError."""
        headers = self.headers
        media_types.require_json(
            headers.get("content-type", "").encode("latin-1"),
            headers.get("content-encoding", "").encode("latin-1"),
        )
        return json.loads((await self.body()).decode(), parse_constant=no_constant)


class JsonRoute(APIRoute):
    """Gives its endpoint a JsonRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, with another request."""
        handle = super().get_route_handler()

        async def read_strictly(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return read_strictly
