"""Services on a database of their own, somebody of each role, customers, and the API on it."""

from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

import tests.billing.profiles  # noqa: F401
from billing_app.billing import ids
from billing_app.billing.actors import StaffActor
from billing_app.billing.offers.catalogue import OfferTerms, publish_offer
from billing_app.composition import Services, build_services
from billing_app.db.enums import Interval, StaffRole
from billing_app.routes import SESSION_COOKIE
from billing_app.settings import Settings
from tests.api.server import ApiServer
from tests.conftest import PUBLIC
from tests.databases import create_database
from tests.factories import (
    NOW,
    OPERATOR,
    Holder,
    organization,
    public_organization,
    session_token,
    staff_member,
)
from tests.payments.conftest import harness, sandbox, sandbox_process  # noqa: F401
from tests.payments.test_outages import impatient  # noqa: F401
from tests.staff.staff_services import Customer

Staff = dict[StaffRole, StaffActor]


@pytest.fixture(scope="session")
def staff_url(server_url: str, database_template: str) -> str:
    url = create_database(server_url, "staff", database_template)
    public_organization(url)
    return url


@pytest.fixture(scope="session")
def staff(staff_url: str) -> Staff:
    return {role: staff_member(staff_url, role) for role in StaffRole}


@pytest.fixture(scope="session")
async def staff_services(settings: Settings, staff_url: str) -> AsyncIterator[Services]:
    built = build_services(settings, staff_url)
    terms = OfferTerms("Growth", "", 30_000, 7_900, "USD", Interval.MONTH)
    await publish_offer(built.database, OPERATOR, code="growth", terms=terms, now=NOW)
    yield built
    await built.close()


@pytest.fixture
def customer(staff_services: Services, staff_url: str) -> Customer:
    return Customer(staff_services, organization(staff_url, 100, 50))


@pytest.fixture
async def trial(staff_services: Services) -> Customer:
    """Somebody on a trial of TRIAL_EXECUTIONS without an end."""
    user_id = ids.new_id("usr_")
    somebody = Customer(staff_services, Holder(PUBLIC, 0), user_id)
    answer = await somebody.use(1)
    number = ids.decode_account(answer["account_id"])
    assert number is not None
    somebody.holder = Holder(PUBLIC, number)
    return somebody


@pytest.fixture(scope="session")
def staff_server(staff_url: str) -> Iterator[ApiServer]:
    started = ApiServer(staff_url)
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture
def browser_of(staff_server: ApiServer, staff_url: str) -> Iterator[Callable[[str], httpx.Client]]:
    """A browser on our own pages, signed in as this user."""
    opened: list[httpx.Client] = []

    def browser(user_id: str) -> httpx.Client:
        client = httpx.Client(
            base_url=staff_server.url,
            headers={"Origin": staff_server.url},
            cookies={SESSION_COOKIE: session_token(staff_url, user_id)},
            timeout=30,
        )
        opened.append(client)
        return client

    yield browser
    for client in opened:
        client.close()
