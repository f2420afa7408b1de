"""Tax ids of customers: VAT numbers and the like, at most one of each value.

Source: https://docs.stripe.com/api/tax_ids/customer_create and
https://docs.stripe.com/tax/checkout/tax-ids
"""

from billing_app.stripe_sandbox.errors import Json, invalid
from billing_app.stripe_sandbox.registry import page, route
from billing_app.stripe_sandbox.render import includable
from billing_app.stripe_sandbox.resources.common import remove
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.world import World, list_object

_EU = frozenset(
    ("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT",
     "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK")
)  # fmt: skip
_TYPES = {"GB": "gb_vat", "US": "us_ein", "CH": "ch_vat", "CA": "ca_bn", "AU": "au_abn"}


def type_in(country: str) -> str | None:
    """The type of tax id that the pages take in a country; None: they take none there."""
    return "eu_vat" if country in _EU else _TYPES.get(country)


def of_customer(world: World, customer_id: str) -> list[Json]:
    """Oldest first."""
    rows = world.store.all("tax_id", lambda t: t["customer"] == customer_id)
    return [row for row in rows if not row.get("_deleted")]


def brief(rows: list[Json]) -> list[Json]:
    """As invoices and checkout sessions list them."""
    return [{"type": row["type"], "value": row["value"]} for row in rows]


def add(world: World, customer: Json, kind: str, value: str) -> Json:
    """Stores a tax id; one that the customer has already is kept as it is."""
    value = "".join(value.split()).upper()
    if not 5 <= len(value) <= 20 or not value.isalnum():
        raise invalid("Invalid value for " + kind + ".", param="value", code="tax_id_invalid")
    for row in of_customer(world, customer["id"]):
        if (row["type"], row["value"]) == (kind, value):
            return row
    tax_id = world.create(
        "tax_id",
        country=value[:2] if kind == "eu_vat" else kind[:2].upper(),
        created=world.now(customer),
        customer=customer["id"],
        owner={"type": "customer", "customer": customer["id"], "account": None,
               "application": None, "customer_account": None},
        type=kind,
        value=value,
        verification={"status": "pending", "verified_address": None, "verified_name": None},
    )  # fmt: skip
    tax_id.pop("metadata", None)
    world.emit("customer.tax_id.created", tax_id)
    return tax_id


@includable("customer", "tax_ids")
def _tax_ids(world: World, customer: Json) -> Json:
    rows = of_customer(world, customer["id"])[::-1]
    return list_object(rows, f"/v1/customers/{customer['id']}/tax_ids")


@route("POST", "/v1/customers/{customer}/tax_ids", "CustomerTaxIdCreateParams")
def create(world: World, params: Json, customer: str) -> Json:
    return add(world, live_customer(world, customer, "id"), params["type"], params["value"])


@route("GET", "/v1/customers/{customer}/tax_ids", "CustomerTaxIdListParams")
def list_all(world: World, params: Json, customer: str) -> Json:
    live_customer(world, customer, "id")
    return page(params, of_customer(world, customer), f"/v1/customers/{customer}/tax_ids")


def _own(world: World, customer: str, identifier: str) -> Json:
    found = world.store.get(identifier, "tax_id")
    if found["customer"] != customer:
        raise invalid(f"No such tax id: '{identifier}'", code="resource_missing")
    return found


@route("GET", "/v1/customers/{customer}/tax_ids/{id}")
def retrieve(world: World, params: Json, customer: str, identifier: str) -> Json:
    return _own(world, customer, identifier)


@route("DELETE", "/v1/customers/{customer}/tax_ids/{id}")
def delete(world: World, params: Json, customer: str, identifier: str) -> Json:
    _own(world, customer, identifier)
    return remove(world, identifier, "tax_id", "customer.tax_id.deleted")
