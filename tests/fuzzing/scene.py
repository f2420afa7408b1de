"""A running site with something behind each kind of id, and callers of every kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from billing_app.billing.offers.catalogue import publish_offer
from billing_app.composition import build_services
from billing_app.db.enums import Scope, StaffRole
from billing_app.routes import CHECK_EXECUTIONS, SESSION_COOKIE
from tests import factories
from tests.conftest import PUBLIC
from tests.factories import OPERATOR
from tests.payments.billing_harness import OFFERS, PUBLIC_URL, payment_settings
from tests.payments.storefront import Customer, Storefront
from tests.staff.permission_scene import Scene, make_scene
from tests.stripe_sandbox.running import Sandbox

CUSTOMER_SCOPES: Final = (
    Scope.EXECUTIONS,
    Scope.PLANS_READ,
    Scope.PLANS_WRITE,
    Scope.SUBSCRIPTIONS,
    Scope.ACCOUNTS,
)
KEY: Final = frozenset({"key"})
SESSION: Final = frozenset({"session"})


@dataclass(frozen=True, slots=True)
class FuzzCaller:
    """`shows`: the security schemes for which its credential is good."""

    name: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cookies: Mapping[str, str] = field(default_factory=dict[str, str])
    shows: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FuzzScene:
    """`able`: callers who may do most of what customers, and what staff can do; `known`: ids that
    exist, by the name that a parameter or member has."""

    storefront: Storefront
    able: tuple[FuzzCaller, ...]
    able_staff: tuple[FuzzCaller, ...]
    others: tuple[FuzzCaller, ...]
    known: Mapping[str, tuple[Any, ...]]

    @property
    def url(self) -> str:
        return self.storefront.server.url

    @property
    def document(self) -> dict[str, Any]:
        return httpx.get(f"{self.url}/billing/openapi.json", timeout=60).json()


async def open_scene(sandbox: Sandbox, database_url: str) -> FuzzScene:
    """The site on this empty database; to be stopped by `storefront.stop()`."""
    factories.public_organization(database_url)
    services = build_services(payment_settings(sandbox), database_url)
    for code, terms in OFFERS.items():
        now = datetime.now(UTC)
        await publish_offer(services.database, OPERATOR, code=code, terms=terms, now=now)
    repairs = await make_scene(services, factories.person(database_url).user_id)
    viewer = factories.staff_member(database_url, StaffRole.ADMIN)
    view = await repairs.viewing_token(viewer)
    await services.close()
    storefront = Storefront(sandbox, database_url).start()
    try:
        return _scene(storefront, repairs, view)
    except BaseException:
        storefront.stop()
        raise


def _scene(storefront: Storefront, repairs: Scene, view: str) -> FuzzScene:
    url = storefront.url
    customer = Customer(storefront, repairs.customer.holder)
    customer.http = storefront.client(factories.api_key(url, *CUSTOMER_SCOPES))
    subscription_id = customer.subscribed()
    organization_id = repairs.customer.holder.organization_id
    # The person whose id is known is signed out by chance.
    owner = factories.member(url, organization_id, "owner")
    plain = factories.member(url, organization_id)
    able = (
        _key(url, "platform key", *CUSTOMER_SCOPES),
        _session(storefront, "owner", owner),
    )
    roles = {role: factories.staff_member(url, role).actor_id for role in StaffRole}
    admin = StaffRole.ADMIN
    others = [
        *(_key(url, f"key with {scope}", scope) for scope in Scope),
        _of(
            "organization's key",
            factories.api_key(url, *CUSTOMER_SCOPES, organization_id=organization_id),
        ),
        _session(storefront, "member", plain),
        _session(storefront, "stranger", factories.person(url).user_id),
        FuzzCaller("viewing admin", _origin(storefront), {SESSION_COOKIE: view}, SESSION),
        *(_of(f"{role} key", factories.staff_key(url, role)) for role in roles if role != admin),
        *(_session(storefront, str(role), roles[role]) for role in roles if role != admin),
        FuzzCaller("nobody"),
        FuzzCaller("unknown key", {"Authorization": "Bearer bil_unknown"}),
        FuzzCaller("unknown session", {}, {SESSION_COOKIE: "x" * 43}),
    ]
    return FuzzScene(
        storefront,
        able,
        (
            _of("admin key", factories.staff_key(url, admin)),
            _session(storefront, "admin", roles[admin]),
        ),
        tuple(others),
        _known(customer, repairs, subscription_id),
    )


def _known(customer: Customer, repairs: Scene, subscription_id: str) -> dict[str, tuple[Any, ...]]:
    account_id = repairs.customer.id
    reserved = customer.http.post(
        CHECK_EXECUTIONS,
        json=customer.body(mode="reserve"),
        headers={"Idempotency-Key": "fuzzed"},
    ).json()
    plans = tuple(repairs.customer.plan_id(sequence) for sequence in (1, 2, 3))
    ((invoice_id,),) = customer.storefront.rows("SELECT provider_id FROM invoices LIMIT 1")
    jobs = customer.storefront.rows("SELECT workflow_uuid FROM dbos.workflow_status LIMIT 3")
    accounts = (account_id, repairs.blocked.id, repairs.trial.id)
    return {
        "organization_id": (repairs.customer.holder.organization_id, PUBLIC),
        "external_id": (repairs.customer.holder.organization_id, repairs.holder_id),
        "account_id": accounts,
        "user_id": (repairs.holder_id, repairs.member_id),
        "event_id": (repairs.event_id,),
        "webhooks/event_id": (repairs.dead_event,),
        "id": (reserved["reservation"]["id"],),
        "subscription_id": (subscription_id,),
        "subscription": (subscription_id,),
        "entry_id": (repairs.entry.id,),
        "plan_id": plans,
        "job_id": tuple(row[0] for row in jobs),
        "invoice": (invoice_id,),
        "offer": (*OFFERS, repairs.archived),
        "code": (*OFFERS, repairs.draft, repairs.archived),
        "version": (1,),
        "revision": (1, 2),
        "email": (repairs.newcomer,),
        "success_url": (f"{PUBLIC_URL}/billing",),
        "cancel_url": (f"{PUBLIC_URL}/billing",),
        "return_url": (f"{PUBLIC_URL}/billing",),
    }


def _of(name: str, secret: str) -> FuzzCaller:
    return FuzzCaller(name, {"Authorization": f"Bearer {secret}"}, shows=KEY)


def _key(url: str, name: str, *scopes: Scope) -> FuzzCaller:
    return _of(name, factories.api_key(url, *scopes))


def _origin(storefront: Storefront) -> dict[str, str]:
    return {"Origin": storefront.server.url}


def _session(storefront: Storefront, name: str, user_id: str) -> FuzzCaller:
    token = factories.session_token(storefront.url, user_id)
    return FuzzCaller(name, _origin(storefront), {SESSION_COOKIE: token}, SESSION)
