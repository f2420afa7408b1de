"""The account that the key belongs to (https://docs.stripe.com/api/accounts/retrieve)."""

from billing_app.stripe_sandbox.contract.blank import blank
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.registry import route
from billing_app.stripe_sandbox.world import World


@route("GET", "/v1/account")
def retrieve_current(world: World, params: Json) -> Json:
    return blank("account") | {
        "id": world.account_id,
        "type": "standard",
        "country": "US",
        "default_currency": "usd",
        "charges_enabled": True,
        "payouts_enabled": True,
        "details_submitted": True,
    }
