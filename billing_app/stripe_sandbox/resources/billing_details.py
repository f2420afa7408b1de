"""What a person enters beside a card: the billing address, the business's name and its tax id.

Checkout keeps them on the customer as `customer_update` says, and a tax id always
(https://docs.stripe.com/tax/checkout/tax-ids, https://docs.stripe.com/api/checkout/sessions/create).
"""

from dataclasses import dataclass

from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.resources import tax_ids
from billing_app.stripe_sandbox.world import World

NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
MISSING = "Your billing address is incomplete."


@dataclass(frozen=True)
class BillingDetails:
    """As entered; empty texts were left out. `country` is an ISO 3166 code."""

    country: str = ""
    line1: str = ""
    city: str = ""
    postal_code: str = ""
    business_name: str = ""
    tax_id: str = ""

    @property
    def address(self) -> Json | None:
        if not self.country:
            return None
        names = ("country", "line1", "city", "postal_code")
        return NO_ADDRESS | {name: getattr(self, name) or None for name in names}


NO_DETAILS = BillingDetails()


def read(form: dict[str, str]) -> BillingDetails:
    names = ("country", "line1", "city", "postal_code", "business_name", "tax_id")
    values = {name: form.get(name, "").strip() for name in names}
    return BillingDetails(**values | {"country": values["country"].upper()})


def keep_tax_id(world: World, customer: Json, details: BillingDetails) -> None:
    """Raises StripeError for an impossible tax id, or one where none is taken."""
    if not details.tax_id:
        return
    kind = tax_ids.type_in(details.country or (customer["address"] or {}).get("country") or "")
    if kind is None:
        raise invalid("Tax ids are not collected in this country.", param="tax_id")
    tax_ids.add(world, customer, kind, details.tax_id)


def keep_address(customer: Json, details: BillingDetails) -> None:
    if details.address is not None:
        customer["address"] = details.address
