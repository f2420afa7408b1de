"""Creates subscriptions with their first invoice.

Source: https://docs.stripe.com/api/subscriptions/create?api-version=2026-10-28.endive
"""

from billing_app.stripe_sandbox.dates import DAY_SECONDS
from billing_app.stripe_sandbox.errors import Json, invalid, missing_param
from billing_app.stripe_sandbox.resources import (
    collection,
    coupons,
    invoicing,
    settlement,
    subscription_states,
    taxes,
)
from billing_app.stripe_sandbox.resources.common import merged_metadata
from billing_app.stripe_sandbox.resources.customers import live_customer
from billing_app.stripe_sandbox.resources.payment_methods import require_attached
from billing_app.stripe_sandbox.resources.pending_items import add_extra_items
from billing_app.stripe_sandbox.resources.prorations import close_lines, is_metered
from billing_app.stripe_sandbox.resources.subscription_items import (
    align,
    cycle_lines,
    items_of,
    last_period_end,
    new_item,
    partial_line,
    trial_lines,
)
from billing_app.stripe_sandbox.world import World, list_object

_UNSUPPORTED = (
    "application_fee_percent", "backdate_start_date", "billing_cycle_anchor_config",
    "billing_schedules", "billing_thresholds", "customer_account", "default_source",
    "default_tax_rates", "on_behalf_of", "pending_invoice_item_interval", "transfer_data",
)  # fmt: skip


def refuse_unsupported(params: Json) -> None:
    """Refuses parameters that the sandbox would otherwise ignore."""
    for name in _UNSUPPORTED:
        if params.get(name):
            raise invalid(f"The sandbox does not support {name}.", param=name)


def create(world: World, params: Json) -> Json:
    """Creates a subscription and collects its first invoice as `payment_behavior` says."""
    refuse_unsupported(params)
    customer = live_customer(world, params["customer"])
    now = world.now(customer)
    subscription = _draft(world, customer, params, now)
    taxes.require_location(world, subscription)
    _start_trial(world, subscription, params, now)
    _place_items(world, subscription, params, now)
    subscription["discounts"] = coupons.redeem(
        world, params.get("discounts") or [], customer, subscription=subscription["id"]
    )
    world.emit("customer.subscription.created", subscription, now=now)
    _first_invoice(world, subscription, customer, params, now)
    return world.store.get(subscription["id"])


def _draft(world: World, customer: Json, params: Json, now: int) -> Json:
    method = params.get("default_payment_method")
    if method:
        require_attached(world, method, customer)
    identifier = world.new_id("subscription")
    details = {"comment": None, "feedback": None, "feedback_option": None, "reason": None}
    subscription = world.create(
        "subscription",
        id=identifier,
        automatic_tax=taxes.setting(params, taxes.OFF),
        billing_cycle_anchor=now,
        billing_mode=_billing_mode(params.get("billing_mode"), now),
        cancellation_details=details,
        collection_method=params.get("collection_method", "charge_automatically"),
        created=now,
        currency="usd",
        customer=customer["id"],
        days_until_due=params.get("days_until_due"),
        default_payment_method=method,
        default_tax_rates=[],
        description=params.get("description"),
        invoice_settings={
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"account": None, "type": "self"},
        },
        items=list_object([], f"/v1/subscription_items?subscription={identifier}"),
        metadata=merged_metadata({}, params.get("metadata")),
        payment_settings=_payment_settings(params.get("payment_settings")),
        start_date=now,
        status="incomplete",
        test_clock=customer["test_clock"],
        trial_settings=_trial_settings(params.get("trial_settings")),
        _pending_update=None,
    )
    if subscription["collection_method"] == "send_invoice" and "days_until_due" not in params:
        raise missing_param("days_until_due")
    return subscription


def _billing_mode(params: Json | None, now: int) -> Json:
    kind = (params or {}).get("type", "flexible")
    flexible = {"proration_discounts": "included"} | ((params or {}).get("flexible") or {})
    return {
        "type": kind,
        "flexible": flexible if kind == "flexible" else None,
        "updated_at": now if kind == "flexible" else None,
    }


def _payment_settings(params: Json | None) -> Json:
    settings = {
        "payment_method_options": None,
        "payment_method_types": None,
        "save_default_payment_method": "off",
    }
    wanted = params or {}
    return settings | {key: wanted[key] for key in settings if wanted.get(key)}


def _trial_settings(params: Json | None) -> Json:
    behavior = {"billing_cycle_anchor": None, "missing_payment_method": "create_invoice"}
    return {"end_behavior": behavior | ((params or {}).get("end_behavior") or {})}


def _start_trial(world: World, subscription: Json, params: Json, now: int) -> None:
    end = params.get("trial_end")
    if params.get("trial_period_days"):
        end = now + params["trial_period_days"] * DAY_SECONDS
    if end in (None, "now"):
        return
    if not isinstance(end, int) or end <= now:
        raise invalid("Invalid timestamp: must be an integer Unix timestamp in the future.",
                      param="trial_end")  # fmt: skip
    subscription |= {
        "status": "trialing",
        "trial_start": now,
        "trial_end": end,
        "billing_cycle_anchor": end,
    }


def _place_items(world: World, subscription: Json, params: Json, now: int) -> None:
    if not params.get("items"):
        raise missing_param("items")
    items = [new_item(world, subscription, entry, now) for entry in params["items"]]
    currencies = {item["price"]["currency"] for item in items}
    if len(currencies) > 1:
        raise invalid("All prices on a subscription must have the same currency.", param="items")
    customer = world.store.get(subscription["customer"])
    currency = currencies.pop()
    if customer["currency"] not in (None, currency):
        raise invalid(
            "You cannot combine currencies on a single customer. This customer has an active "
            f"subscription or balance in {customer['currency']}.",
        )
    subscription["currency"] = currency
    subscription["items"]["data"] = items
    anchor = params.get("billing_cycle_anchor")
    if anchor:
        if anchor <= now:
            raise invalid("billing_cycle_anchor must be in the future.",
                          param="billing_cycle_anchor")  # fmt: skip
        subscription["billing_cycle_anchor"] = anchor
    for item in items:
        _first_period(subscription, item, now)
    _apply_cancellation(subscription, params, now)


def _first_period(subscription: Json, item: Json, now: int) -> None:
    if subscription["status"] == "trialing":
        item |= {"current_period_start": now, "current_period_end": subscription["trial_end"]}
        return
    align(subscription, item, now)
    item["current_period_start"] = now


def _apply_cancellation(subscription: Json, params: Json, now: int) -> None:
    if params.get("cancel_at_period_end"):
        subscription |= {
            "cancel_at_period_end": True,
            "cancel_at": last_period_end(subscription),
            "canceled_at": now,
        }
    elif isinstance(params.get("cancel_at"), int):
        subscription |= {"cancel_at": params["cancel_at"], "canceled_at": now}


def _first_lines(world: World, subscription: Json, params: Json, now: int) -> list[invoicing.Line]:
    if subscription["status"] == "trialing":
        return trial_lines(world, subscription)
    licensed = [item for item in items_of(subscription) if not is_metered(item)]
    if subscription["billing_cycle_anchor"] == now:
        return cycle_lines(world, licensed)
    if params.get("proration_behavior") == "none":
        return []
    return [partial_line(world, subscription, item, now) for item in licensed]


def _first_invoice(
    world: World, subscription: Json, customer: Json, params: Json, now: int
) -> None:
    lines = _first_lines(world, subscription, params, now)
    extra = params.get("add_invoice_items") or []
    if not lines and not extra:
        status = "trialing" if subscription["status"] == "trialing" else "active"
        subscription_states.change(world, subscription["id"], now, status=status)
        return
    invoice = invoicing.new_invoice(
        world,
        customer,
        reason="subscription_create",
        now=now,
        currency=subscription["currency"],
        subscription=subscription,
    )
    invoicing.add_lines(world, invoice, lines)
    add_extra_items(world, subscription, customer, extra, now)
    invoicing.pull_pending_items(world, invoice)
    invoicing.total_up(world, invoice, now)
    subscription["latest_invoice"] = invoice["id"]
    close_lines(world, subscription, invoice)
    world.emit("invoice.created", invoice, now=now)
    invoicing.finalize(world, invoice["id"], now)
    _pay_first_invoice(world, subscription["id"], invoice["id"], params, now)


def _pay_first_invoice(
    world: World, subscription_id: str, invoice_id: str, params: Json, now: int
) -> None:
    behavior = params.get("payment_behavior", "allow_incomplete")
    subscription = world.store.get(subscription_id)
    if settlement.settle_if_nothing_due(world, invoice_id, now):
        return
    if subscription["collection_method"] == "send_invoice":
        subscription_states.change(world, subscription_id, now, status="active")
        world.emit("invoice.sent", world.store.get(invoice_id), now=now)
        return
    if behavior == "default_incomplete":
        return
    declined = collection.collect(
        world, invoice_id, now, off_session=bool(params.get("off_session"))
    )
    if behavior == "error_if_incomplete":
        collection.raise_if_unpaid(world, invoice_id, declined)
