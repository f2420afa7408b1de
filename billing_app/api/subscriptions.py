"""Subscriptions, the portal and the offers on sale, over HTTP."""

import re
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Query
from pydantic import Field

from billing_app.api.callers import AccountNow, ActorNow, Now, ServicesNow
from billing_app.api.json_body import JsonBody
from billing_app.api.parameters import NO_CONTROL, OfferCode
from billing_app.api.responses import problems
from billing_app.api.routing import JsonRoute
from billing_app.billing.actors import Actor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.offers import catalogue
from billing_app.billing.subscriptions.service import ChangePreview, SubscriptionView
from billing_app.composition import Services
from billing_app.db.enums import When
from billing_app.routes import OVERVIEW

router = APIRouter(route_class=JsonRoute, prefix="/billing", tags=["subscriptions"])

MAX_URL_LENGTH: Final = 2000
# Browsers drop some of these and read others as slashes.
NOT_IN_URLS: Final = re.compile(r"[\x00-\x20\x7f\\]")
Identifier = Annotated[str, Field(min_length=1, max_length=255, pattern=NO_CONTROL)]
OwnUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_URL_LENGTH,
        description="On this site: starts with PUBLIC_URL",
        json_schema_extra={"pattern": r"^[^\x00-\x20\x7f\\]+$"},
    ),
]
UserId = Annotated[Identifier | None, Field(description="Required for the public organization")]


class Subscribe(JsonBody):
    organization_id: Identifier
    user_id: UserId = None
    offer: OfferCode
    success_url: OwnUrl | None = None
    cancel_url: OwnUrl | None = None


class Change(JsonBody):
    """`offer` is no pack: packs are bought beside a subscription."""

    offer: OfferCode
    when: Annotated[When, Field(strict=False)] = When.NOW


class Preview(Change):
    """A change to preview. `offer` is no pack."""


class OpenPortal(JsonBody):
    organization_id: Identifier
    user_id: UserId = None
    return_url: OwnUrl


@router.get("/offers")
async def list_offers(services: ServicesNow) -> dict[str, Any]:
    """The offers on sale. Public."""
    return {"items": await catalogue.list_offers(services.database)}


@router.post("/subscriptions", status_code=201, responses=problems(402, 409, 502))
async def subscribe(
    body: Subscribe, services: ServicesNow, actor: ActorNow, now: Now
) -> dict[str, Any]:
    """Subscribe with the card on file, or get a checkout to pay in."""
    account_id = await _account(services, actor, body.organization_id, body.user_id)
    overview = services.settings.public_url + OVERVIEW
    begun = await services.subscriptions.begin(
        actor,
        account_id,
        offer_code=body.offer,
        success_url=_own_url(
            services, body.success_url, field="success_url", default=f"{overview}?checkout=done"
        ),
        cancel_url=_own_url(
            services, body.cancel_url, field="cancel_url", default=f"{overview}?checkout=left"
        ),
        now=now,
    )
    return {"subscription": begun.subscription, "checkout_url": begun.checkout_url}


@router.get("/subscriptions/current")
async def current(
    services: ServicesNow, actor: ActorNow, account_id: AccountNow
) -> dict[str, SubscriptionView | None]:
    """The account's live subscription, or null."""
    return {"subscription": await services.subscriptions.read(actor, account_id)}


@router.put("/subscriptions/{subscription_id}", responses=problems(402, 409, 502))
async def change(
    subscription_id: str, body: Change, services: ServicesNow, actor: ActorNow, now: Now
) -> SubscriptionView:
    """Change the offer now, charged immediately, or at the end of the period.

    Its own offer with `when` = `now` begins the next period now, once nothing is left of the
    current one (else 409 `same_offer`), and ends a trial.
    """
    return await services.subscriptions.change(
        actor, subscription_id, offer_code=body.offer, when=body.when, now=now
    )


@router.post("/subscriptions/{subscription_id}/preview", responses=problems(409, 502))
async def preview(
    subscription_id: str, body: Preview, services: ServicesNow, actor: ActorNow, now: Now
) -> ChangePreview:
    """The exact cost of a change, and when it is charged."""
    return await services.subscriptions.preview(
        actor, subscription_id, offer_code=body.offer, when=body.when, now=now
    )


@router.delete("/subscriptions/{subscription_id}", responses=problems(409, 502))
async def cancel(
    subscription_id: str,
    services: ServicesNow,
    actor: ActorNow,
    now: Now,
    when: Annotated[When, Query()] = When.PERIOD_END,
) -> SubscriptionView:
    """Cancel at the end of the period, or immediately."""
    return await services.subscriptions.cancel(actor, subscription_id, when=when, now=now)


@router.post("/subscriptions/{subscription_id}/resume", responses=problems(409, 502))
async def resume(
    subscription_id: str, services: ServicesNow, actor: ActorNow, now: Now
) -> SubscriptionView:
    """Withdraw a cancellation or change that is scheduled for the end of the period."""
    return await services.subscriptions.resume(actor, subscription_id, now=now)


@router.post("/portal-sessions", responses=problems(409, 502))
async def open_portal(
    body: OpenPortal, services: ServicesNow, actor: ActorNow, now: Now
) -> dict[str, str]:
    """Open the payment provider's portal for the account's cards and invoices."""
    return_url = _own_url(services, body.return_url, field="return_url")
    account_id = await _account(services, actor, body.organization_id, body.user_id)
    url = await services.subscriptions.portal_url(actor, account_id, return_url=return_url, now=now)
    return {"url": url}


async def _account(
    services: Services, actor: Actor, organization_id: str, user_id: str | None
) -> str:
    return await services.accounts.find(
        actor, organization_id=organization_id, user_id=user_id or ""
    )


def _own_url(services: Services, url: str | None, *, field: str, default: str = "") -> str:
    """People return only to our own site. Raises InvalidInputError."""
    if url is None:
        return default
    own = urlsplit(services.settings.public_url)
    try:
        given = urlsplit(url)
    except ValueError:
        given = None
    is_ours = given is not None and (given.scheme, given.netloc) == (own.scheme, own.netloc)
    if not is_ours or NOT_IN_URLS.search(url):
        raise InvalidInputError(
            f"{field} must start with {own.scheme}://{own.netloc}.",
            field=field,
        )
    return url
