"""Where somebody can do something about an alert, on this site."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from billing_app.db.enums import AlertKind
from billing_app.routes import OVERVIEW, USAGE


class AlertLink(NamedTuple):
    page: str
    label: str


PLANS: Final = AlertLink(OVERVIEW, "See plans")
PAYMENT: Final = AlertLink(OVERVIEW, "See payment")
SPENDING: Final = AlertLink(f"{OVERVIEW}#spending", "See spending limit")
ACTIVITY: Final = AlertLink(USAGE, "See usage")

LINKS: Final[Mapping[AlertKind, AlertLink]] = {
    AlertKind.REMAINING_SHARE: PLANS,
    AlertKind.REMAINING_NUMBER: PLANS,
    AlertKind.OVERAGE_SPENT: SPENDING,
    AlertKind.FORECAST_END: PLANS,
    AlertKind.RENEWAL_COMING: PAYMENT,
    AlertKind.PAYMENT_FAILED: PAYMENT,
    AlertKind.CARD_EXPIRING: PAYMENT,
    AlertKind.EXECUTION_REFUSED: PLANS,
    AlertKind.UNUSUAL_PACE: ACTIVITY,
    AlertKind.ERROR_LOOP: ACTIVITY,
}
