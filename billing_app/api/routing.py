"""FastAPI routes that parse JSON as strictly as the hot routes do."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from billing_app.api import media_types


def no_constant(name: str) -> object:
    """For `json`'s parse_constant: raise ValueError for NaN and Infinity."""
    raise ValueError(f"{name} is not JSON")


class JsonRequest(Request):
    """Reads bodies as `application/json` in UTF-8; `json.loads` alone guesses encodings."""

    async def json(self) -> Any:
        """Raises ContentTypeError, ValueError, RecursionError."""
        headers = self.headers
        media_types.require_json(
            headers.get("content-type", "").encode("latin-1"),
            headers.get("content-encoding", "").encode("latin-1"),
        )
        return json.loads((await self.body()).decode(), parse_constant=no_constant)


class JsonRoute(APIRoute):
    """A route that gives its endpoint a JsonRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given a JsonRequest."""
        handle = super().get_route_handler()

        async def read_strictly(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return read_strictly
