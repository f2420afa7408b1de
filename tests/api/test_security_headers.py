"""Headers of every answer: kept by nobody, read as what it says it is, over https from then on."""

import httpx
import pytest

from billing_app import routes
from tests.api.server import ApiServer

PATHS = [
    ("GET", routes.HEALTH, 200),
    ("GET", "/readyz", 200),
    ("GET", routes.OPENAPI, 200),
    ("GET", "/billing/docs", 200),
    ("GET", "/billing/nothing", 404),
    ("GET", "/billing/plans/current", 401),
    ("DELETE", "/billing/plans/current", 405),
    ("POST", routes.CHECK_EXECUTIONS, 401),
    ("GET", routes.CHECK_EXECUTIONS, 405),
    ("POST", routes.SESSION_CREATE, 403),
    ("GET", "/billing/plans/current?x=%00", 422),
]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_answer_has_them(api_database_url: str, scheme: str) -> None:
    server = ApiServer(api_database_url)
    server.environment["PUBLIC_URL"] = f"{scheme}://billing.test"
    server.start()
    try:
        for method, path, status in PATHS:
            answer = httpx.request(method, server.url + path, timeout=20)
            assert answer.status_code == status, path
            assert answer.headers.get_list("cache-control") == ["no-store"], path
            assert answer.headers.get_list("x-content-type-options") == ["nosniff"], path
            expected = ["max-age=31536000"] if scheme == "https" else []
            assert answer.headers.get_list("strict-transport-security") == expected, path
    finally:
        server.stop()
