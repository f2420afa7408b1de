import pytest

import tests.billing.profiles  # noqa: F401
from billing_app.billing.actors import UserActor
from billing_app.billing.identity.password_hashing import hash_password
from billing_app.composition import Services
from tests.billing.email_outbox import PASSWORD, Outbox, made_person
from tests.factories import public_organization


@pytest.fixture
def outbox(services: Services) -> Outbox:
    return Outbox(services)


@pytest.fixture(scope="session")
async def password_hash() -> str:
    return await hash_password(PASSWORD)


@pytest.fixture
def ada(services: Services, database_url: str, password_hash: str) -> UserActor:
    """Somebody with PASSWORD and a trial."""
    public_organization(database_url)
    return made_person(database_url, password_hash)
