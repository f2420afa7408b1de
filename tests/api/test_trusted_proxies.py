"""Behind a trusted proxy, limits count by the visitor; nobody else can choose an address."""

from collections.abc import Iterator

import httpx
import pytest
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from billing_app import serving
from billing_app.billing.identity.rate_limits import LINK_BY_ADDRESS
from billing_app.routes import PASSWORD_RESETS
from billing_app.settings import Settings
from tests.conftest import server_environment
from tests.processes import api_process


@pytest.fixture(scope="module")
def behind_proxy(api_database_url: str, mail: dict[str, str]) -> Iterator[str]:
    more = mail | {"TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}
    with api_process(server_environment(api_database_url, **more)) as url:
        yield url


@pytest.fixture(scope="module")
def elsewhere(api_database_url: str, mail: dict[str, str]) -> Iterator[str]:
    more = mail | {"TRUSTED_PROXIES": "10.0.0.0/8"}
    with api_process(server_environment(api_database_url, **more)) as url:
        yield url


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"MAIL_DIRECTORY": str(tmp_path_factory.mktemp("mail"))}


def is_refused(url: str, number: int, forwarded: str) -> bool:
    """A link asked for by a visitor, as the proxy forwards it."""
    answer = httpx.post(
        url + PASSWORD_RESETS,
        data={"email": f"{number}-{forwarded.rsplit(',', maxsplit=1)[-1].strip()}@example.com"},
        headers={"Origin": url, "X-Forwarded-For": forwarded},
        timeout=20,
    )
    assert answer.status_code == 303, answer.text
    return "error=rate_limited" in answer.headers["location"]


def test_each_visitor_has_a_limit(behind_proxy: str) -> None:
    most = LINK_BY_ADDRESS.most
    assert not any(is_refused(behind_proxy, number, "203.0.113.7") for number in range(most))
    assert is_refused(behind_proxy, most, "203.0.113.7")
    assert not is_refused(behind_proxy, most, "203.0.113.99")


def test_what_a_visitor_claims_is_not_believed(behind_proxy: str) -> None:
    """The proxy appends the address that it sees; those before it are the visitor's own words."""
    most = LINK_BY_ADDRESS.most
    claims = [f"198.51.100.{number}, 203.0.113.20" for number in range(most + 1)]
    refused = [is_refused(behind_proxy, number, claim) for number, claim in enumerate(claims)]
    assert refused == [False] * most + [True]


def test_proxy_behind_a_proxy_is_looked_through(behind_proxy: str) -> None:
    most = LINK_BY_ADDRESS.most
    claims = [f"203.0.113.{30 + number}, 10.1.2.3" for number in range(most + 1)]
    assert not any(is_refused(behind_proxy, n, claim) for n, claim in enumerate(claims))


def test_others_cannot_choose_their_address(elsewhere: str) -> None:
    most = LINK_BY_ADDRESS.most
    refused = [is_refused(elsewhere, n, f"203.0.113.{60 + n}") for n in range(most + 1)]
    assert refused == [False] * most + [True]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("10.0.0.5", "10.0.0.5/32"),
        (" 10.0.0.5 , 10.1.2.3/16,", "10.0.0.5/32,10.1.0.0/16"),
        ("fd00::/8", "fd00::/8"),
    ],
)
def test_addresses_and_networks_are_taken(given: str, kept: str) -> None:
    settings = Settings(trial_plan_executions=1, public_org_id="public", trusted_proxies=given)
    assert settings.trusted_proxies == kept


@pytest.mark.parametrize("given", ["0.0.0.0/0", "::/0", "10.0.0.5, 0.0.0.0/0"])
def test_trusting_every_address_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="must not hold every address"):
        Settings(trial_plan_executions=1, public_org_id="public", trusted_proxies=given)


@pytest.mark.parametrize(
    ("connected", "seen"),
    [
        ("::ffff:10.1.2.3", "203.0.113.7"),
        ("10.1.2.3", "203.0.113.7"),
        ("fd00::1", "203.0.113.7"),
        ("::ffff:10.2.0.1", "::ffff:10.2.0.1"),
    ],
)
async def test_proxy_is_known_on_a_socket_of_either_kind(
    connected: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        clients.append(scope["client"][0])

    settings = Settings(
        trial_plan_executions=1, public_org_id="public", trusted_proxies="10.1.0.0/16, fd00::/8"
    )
    monkeypatch.setattr(serving, "load_settings", lambda: settings)
    scope: Scope = {
        "type": "http",
        "client": (connected, 1),
        "headers": [(b"x-forwarded-for", b"203.0.113.7")],
    }
    await serving.behind_proxies(app)(scope, None, None)  # pyright: ignore[reportArgumentType]
    assert clients == [seen]


@pytest.mark.parametrize("given", ["*", "proxy.internal", "10.0.0.0/33", "10.0.0.5;10.0.0.6"])
def test_anything_else_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="must be addresses or networks"):
        Settings(trial_plan_executions=1, public_org_id="public", trusted_proxies=given)
