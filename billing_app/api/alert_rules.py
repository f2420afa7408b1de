"""Rules of alerts in JSON."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from billing_app.api.json_body import JsonBody
from billing_app.api.published_schemas import CURRENCY
from billing_app.billing.alerts.rules import BOUNDS, MAX_RULES, Rule, as_rows
from billing_app.db.enums import AlertKind

MAX_VALUE: Final = max(bounds.most for bounds in BOUNDS.values())


def _schema_of(kind: AlertKind) -> dict[str, Any]:
    """A rule of the kind, with the bounds of its value."""
    members: dict[str, Any] = {"kind": {"const": str(kind)}}
    if bounds := BOUNDS.get(kind):
        members["value"] = {
            "type": "integer",
            "minimum": bounds.least,
            "maximum": bounds.most,
            "description": bounds.meaning,
        }
    if kind == AlertKind.OVERAGE_SPENT:
        members["currency"] = CURRENCY.json_schema_extra | {"type": "string"}
    return {"properties": members, "required": [*members], "additionalProperties": False}


class RuleBody(JsonBody):
    """When to alert. `value` and `currency`: only of the kinds that have them."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"oneOf": [_schema_of(kind) for kind in AlertKind]}
    )

    kind: Annotated[AlertKind, Field(strict=False)]
    value: int = 0
    currency: str = ""


Rules = Annotated[
    list[RuleBody] | None,
    Field(description="null: the defaults apply", json_schema_extra={"maxItems": MAX_RULES}),
]


def rules_of(bodies: Iterable[RuleBody] | None) -> list[Rule] | None:
    if bodies is None:
        return None
    return [Rule(body.kind, body.value, body.currency) for body in bodies]


def rules_body(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    return as_rows(rules)
