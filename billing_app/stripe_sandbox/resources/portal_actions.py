"""The actions of a person in the customer portal."""

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.errors import Json, StripeError, invalid
from billing_app.stripe_sandbox.resources import schedules, setup_intents, subscription_updates
from billing_app.stripe_sandbox.resources.billing_details import (
    BillingDetails,
    keep_address,
    keep_tax_id,
)
from billing_app.stripe_sandbox.resources.cancellations import cancel_now
from billing_app.stripe_sandbox.resources.payment_methods import attach, detach, new_card
from billing_app.stripe_sandbox.resources.subscription_items import items_of
from billing_app.stripe_sandbox.resources.subscription_states import ENDED
from billing_app.stripe_sandbox.resources.tax_ids import delete
from billing_app.stripe_sandbox.world import World


def subscriptions_of(world: World, session: Json) -> list[Json]:
    rows = world.store.all("subscription", lambda s: s["customer"] == session["customer"])
    return [row for row in rows if row["status"] not in ENDED]


def features_of(world: World, session: Json) -> Json:
    return world.store.get(session["configuration"])["features"]


def _own(world: World, session: Json, identifier: str) -> Json:
    subscription = world.store.get(identifier, "subscription")
    if subscription["customer"] != session["customer"]:
        raise invalid("No such subscription.", code="resource_missing")
    return subscription


def offered_prices(world: World, session: Json, subscription: Json) -> list[Json]:
    """The prices that a subscription can change to: the configured ones, or all recurring ones."""
    update = features_of(world, session)["subscription_update"]
    if not update["enabled"]:
        return []
    listed = {price for product in update["products"] or [] for price in product["prices"]}
    current = {item["price"]["id"] for item in items_of(subscription)}

    def fits(price: Json) -> bool:
        return (
            price["active"]
            and price["type"] == "recurring"
            and price["recurring"]["usage_type"] == "licensed"
            and price["currency"] == subscription["currency"]
            and price["id"] not in current
            and (not listed or price["id"] in listed)
        )

    return list(world.store.all("price", fits))


def cancel(world: World, session: Json, identifier: str) -> None:
    _own(world, session, identifier)
    feature = features_of(world, session)["subscription_cancel"]
    if not feature["enabled"]:
        raise invalid("Cancellation is disabled in this portal.")
    if feature["mode"] == "immediately":
        prorates = feature["proration_behavior"] != "none"
        cancel_now(world, identifier, "cancellation_requested", prorate=prorates)
        return
    subscription_updates.update(world, identifier, {"cancel_at_period_end": True})


def keep(world: World, session: Json, identifier: str) -> None:
    """Withdraws a scheduled cancellation or change."""
    subscription = _own(world, session, identifier)
    if subscription["schedule"]:
        schedules.release_call(world, {}, subscription["schedule"])
    if subscription["cancel_at"] is not None:
        changes = (
            {"cancel_at_period_end": False}
            if subscription["cancel_at_period_end"]
            else {"cancel_at": ""}
        )
        subscription_updates.update(world, identifier, changes)


def change_plan(world: World, session: Json, identifier: str, price_id: str) -> None:
    """Changes the price: now, or at period end if the configuration defers downgrades."""
    subscription = _own(world, session, identifier)
    offered = {price["id"]: price for price in offered_prices(world, session, subscription)}
    if price_id not in offered:
        raise invalid("This plan is not available.")
    item = items_of(subscription)[0]
    update = features_of(world, session)["subscription_update"]
    if _waits_for_period_end(update, item, offered[price_id]):
        _change_at_period_end(world, identifier, item, price_id)
        return
    subscription_updates.update(
        world,
        identifier,
        {
            "items": [{"id": item["id"], "price": price_id, "quantity": item["quantity"] or 1}],
            "proration_behavior": update["proration_behavior"],
            "payment_behavior": "error_if_incomplete",
        },
    )


def _waits_for_period_end(update: Json, item: Json, price: Json) -> bool:
    conditions = {entry["type"] for entry in update["schedule_at_period_end"]["conditions"]}
    quantity = item["quantity"] or 1
    cheaper = money.price_amount(price, quantity) < money.price_amount(item["price"], quantity)
    return "decreasing_item_amount" in conditions and cheaper


def _change_at_period_end(world: World, identifier: str, item: Json, price_id: str) -> None:
    schedule = schedules.create(world, {"from_subscription": identifier})
    current = schedule["phases"][0]
    kept = [schedules.as_param(entry) for entry in current["items"]]
    later = [
        {**entry, "price": price_id} if entry["price"] == item["price"]["id"] else entry
        for entry in kept
    ]
    phases = [{"items": kept, "end_date": current["end_date"]}, {"items": later}]
    schedules.update(world, {"phases": phases, "end_behavior": "release"}, schedule["id"])


def add_card(world: World, session: Json, number: str, expiry: tuple[int, int]) -> None:
    """Saves a card and makes it the default for everything."""
    customer = world.store.edit(session["customer"])
    method = new_card(world, number, expiry)
    intent = setup_intents.new_setup_intent(world, customer, {"payment_method": method["id"]})
    declined = setup_intents.attempt_setup(world, intent["id"], challenged=True)
    if declined:
        raise StripeError(402, "card_error", declined.message)
    attach(world, method["id"], customer)
    make_default(world, session, method["id"])


def make_default(world: World, session: Json, identifier: str) -> None:
    method = world.store.get(identifier, "payment_method")
    if method["customer"] != session["customer"]:
        raise invalid("No such card.")
    customer = world.store.edit(session["customer"])
    customer["invoice_settings"]["default_payment_method"] = identifier
    world.emit_update("customer", customer)
    for subscription in subscriptions_of(world, session):
        if subscription["default_payment_method"] not in (None, identifier):
            changes = {"default_payment_method": identifier}
            subscription_updates.update(world, subscription["id"], changes)


def may_update(world: World, session: Json, what: str) -> bool:
    """Whether the customer may change their `address` or `tax_id`."""
    feature = features_of(world, session)["customer_update"]
    return feature["enabled"] and what in feature["allowed_updates"]


def update_customer(world: World, session: Json, details: BillingDetails) -> None:
    """Saves the billing address, and adds a tax id if one is given."""
    customer = world.store.edit(session["customer"])
    if may_update(world, session, "address"):
        keep_address(customer, details)
    if may_update(world, session, "tax_id"):
        keep_tax_id(world, customer, details)
    world.emit_update("customer", customer)


def remove_tax_id(world: World, session: Json, identifier: str) -> None:
    if not may_update(world, session, "tax_id"):
        raise invalid("Tax ids cannot be changed in this portal.")
    delete(world, {}, session["customer"], identifier)


def remove_card(world: World, session: Json, identifier: str) -> None:
    if world.store.get(identifier, "payment_method")["customer"] != session["customer"]:
        raise invalid("No such card.")
    detach(world, {}, identifier)
