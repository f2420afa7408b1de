"""Custom fields that a customer's invoices have (docs.stripe.com/api/customers/object)."""

from typing import Any, Final

PURCHASE_ORDER: Final = "Purchase order"
# docs.stripe.com/api/customers/update
MAX_FIELDS: Final = 4


def fields_with(customer: Any, purchase_order: str) -> list[dict[str, str]]:
    """The customer's fields with ours, or without it when it is "": a list replaces the old one."""
    kept = [
        {"name": field.name, "value": field.value}
        for field in _fields(customer)
        if field.name != PURCHASE_ORDER
    ]
    ours = [{"name": PURCHASE_ORDER, "value": purchase_order}] if purchase_order else []
    return ours + kept[: MAX_FIELDS - len(ours)]


def purchase_order_of(customer: Any) -> str:
    """ "" without one."""
    values = (field.value for field in _fields(customer) if field.name == PURCHASE_ORDER)
    return next(values, "")


def _fields(customer: Any) -> list[Any]:
    settings = customer.invoice_settings
    return list(settings.custom_fields or []) if settings is not None else []
