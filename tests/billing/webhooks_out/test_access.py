"""Who may see and change webhook endpoints, whoever asks."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from billing_app.billing.accounts.service import ReadOnlyError
from billing_app.billing.actors import (
    Actor,
    PortalActor,
    ServiceActor,
    UserActor,
    ViewingActor,
)
from billing_app.billing.errors import BillingError, ForbiddenError, ScopeMissingError
from billing_app.billing.staff.access.permissions import StaffRoleMissingError
from billing_app.billing.webhooks_out.access import EndpointNotFoundError
from billing_app.billing.webhooks_out.deliveries import DeliveryNotFoundError
from billing_app.billing.webhooks_out.endpoints import EndpointFields
from billing_app.composition import Services
from billing_app.db.enums import AccountKind, Role, Scope, StaffRole
from tests.factories import OPERATOR, Holder, connect, member, organization, person, staff_member

NOW: Final = datetime(2026, 11, 30, 12, tzinfo=UTC)
URL: Final = "https://hooks.example.com/"
WEBHOOKS: Final = frozenset({str(Scope.WEBHOOKS)})


@dataclass
class Scene:
    services: Services
    holder: Holder
    own: str
    platform: str


@pytest.fixture
async def scene(services: Services, database_url: str) -> Scene:
    with connect(database_url) as connection:
        connection.execute("DELETE FROM webhook_endpoints")
    holder = organization(database_url, 5)
    fields = EndpointFields(url=URL)
    own = await services.webhook_endpoints.add(OPERATOR, holder.organization_id, fields, NOW)
    platform = await services.webhook_endpoints.add(OPERATOR, None, fields, NOW)
    return Scene(services, holder, own.endpoint.id, platform.endpoint.id)


def actors(scene: Scene, url: str) -> dict[str, Actor]:
    organization_id, number = scene.holder.organization_id, scene.holder.account_number
    admin = staff_member(url, StaffRole.ADMIN)
    portal = PortalActor("u-7", "", "", number, Role.OWNER, "https://app.example.com")
    other = organization(url, 5)
    return {
        "owner": UserActor(member(url, organization_id, "owner"), "", ""),
        "billing admin": UserActor(member(url, organization_id, "billing_admin"), "", ""),
        "member": UserActor(member(url, organization_id, "member"), "", ""),
        "stranger": person(url),
        "portal owner": portal,
        "portal member": replace(portal, role=Role.MEMBER),
        "portal of another": replace(portal, account_number=other.account_number),
        "viewer": ViewingActor(
            admin, number, AccountKind.ORGANIZATION, "", NOW + timedelta(hours=1)
        ),
        "platform key": ServiceActor(1, WEBHOOKS, None),
        "own key": ServiceActor(1, WEBHOOKS, organization_id),
        "other key": ServiceActor(1, WEBHOOKS, other.organization_id),
        "key without the scope": ServiceActor(1, frozenset({"accounts"}), None),
        "support": staff_member(url, StaffRole.SUPPORT),
        "billing": staff_member(url, StaffRole.BILLING),
        "admin": admin,
        "admin who views": replace(admin, is_viewing=True),
        "operator": OPERATOR,
    }


HIDDEN, FORBIDDEN = EndpointNotFoundError, ForbiddenError
# Who, then what reading and changing the organization's endpoint raises, and the platform's.
RULES: Final[dict[str, tuple[Any, Any, Any, Any]]] = {
    "owner": (None, None, HIDDEN, HIDDEN),
    "billing admin": (None, None, HIDDEN, HIDDEN),
    "member": (FORBIDDEN, FORBIDDEN, HIDDEN, HIDDEN),
    "stranger": (HIDDEN, HIDDEN, HIDDEN, HIDDEN),
    "portal owner": (None, None, HIDDEN, HIDDEN),
    "portal member": (FORBIDDEN, FORBIDDEN, HIDDEN, HIDDEN),
    "portal of another": (HIDDEN, HIDDEN, HIDDEN, HIDDEN),
    "viewer": (None, ReadOnlyError, HIDDEN, HIDDEN),
    "platform key": (None, None, None, None),
    "own key": (None, None, HIDDEN, HIDDEN),
    "other key": (HIDDEN, HIDDEN, HIDDEN, HIDDEN),
    "key without the scope": (
        ScopeMissingError,
        ScopeMissingError,
        ScopeMissingError,
        ScopeMissingError,
    ),
    "support": (None, StaffRoleMissingError, None, StaffRoleMissingError),
    "billing": (None, StaffRoleMissingError, None, StaffRoleMissingError),
    "admin": (None, None, None, None),
    "admin who views": (None, ReadOnlyError, None, ReadOnlyError),
    "operator": (None, None, None, None),
}


async def outcome(call: Callable[[], Awaitable[Any]]) -> type[BillingError] | None:
    """The error; None: it was allowed, and found what it was to find or nothing."""
    try:
        await call()
    except DeliveryNotFoundError:
        return None
    except BillingError as error:
        return type(error)
    return None


@pytest.mark.parametrize("who", RULES)
async def test_every_function_asks_who_may(scene: Scene, database_url: str, who: str) -> None:
    actor = actors(scene, database_url)[who]
    endpoints, log = scene.services.webhook_endpoints, scene.services.webhook_deliveries
    for endpoint_id, reading, changing in (
        (scene.own, *RULES[who][:2]),
        (scene.platform, *RULES[who][2:]),
    ):
        reads = (
            lambda e=endpoint_id: endpoints.read(actor, e, NOW),
            lambda e=endpoint_id: log.list(actor, e),
            lambda e=endpoint_id: log.read(actor, e, "whd_1"),
        )
        changes = (
            lambda e=endpoint_id: endpoints.update(actor, e, EndpointFields(description=who), NOW),
            lambda e=endpoint_id: endpoints.rotate_secret(actor, e, NOW),
            lambda e=endpoint_id: log.send_test(actor, e, NOW),
            lambda e=endpoint_id: log.redeliver(actor, e, "whd_1", NOW),
        )
        assert [await outcome(each) for each in reads] == [reading] * len(reads)
        assert [await outcome(each) for each in changes] == [changing] * len(changes)
        removed = await outcome(lambda e=endpoint_id: endpoints.remove(actor, e, NOW))
        assert removed is changing


@pytest.mark.parametrize("who", RULES)
async def test_adding_and_listing_ask_too(scene: Scene, database_url: str, who: str) -> None:
    actor = actors(scene, database_url)[who]
    endpoints = scene.services.webhook_endpoints
    for owner, (reading, changing) in (
        (scene.holder.organization_id, RULES[who][:2]),
        (None, RULES[who][2:]),
    ):
        added = await outcome(lambda o=owner: endpoints.add(actor, o, EndpointFields(url=URL), NOW))
        listed = await outcome(lambda o=owner: endpoints.list(actor, o, NOW))
        assert (listed is None) is (reading is None), who
        assert (added is None) is (changing is None), who
