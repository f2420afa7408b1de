"""Every repair, one row each; docs/how-to/add-a-repair.md says how to add one."""

from typing import Any, Final

from billing_app.billing.staff.repairs.adjustments import ADJUST
from billing_app.billing.staff.repairs.cancellations import CANCEL_SUBSCRIPTION
from billing_app.billing.staff.repairs.grants import GRANT
from billing_app.billing.staff.repairs.memberships import ADD_MEMBER
from billing_app.billing.staff.repairs.moves import MOVE_OFFER
from billing_app.billing.staff.repairs.refunds import REFUND, REFUND_RANGE
from billing_app.billing.staff.repairs.repair import Repair
from billing_app.billing.staff.repairs.stops import BLOCK, PAUSE, RESUME, UNBLOCK
from billing_app.billing.staff.repairs.trial_extensions import EXTEND_TRIAL
from billing_app.billing.staff.repairs.trusted_invoices import TRUST_INVOICE

# In the order of the console's menu.
REPAIRS: Final[tuple[Repair[Any], ...]] = (
    GRANT,
    REFUND,
    REFUND_RANGE,
    ADJUST,
    EXTEND_TRIAL,
    MOVE_OFFER,
    ADD_MEMBER,
    TRUST_INVOICE,
    CANCEL_SUBSCRIPTION,
    PAUSE,
    RESUME,
    UNBLOCK,
    BLOCK,
)
BY_NAME: Final[dict[str, Repair[Any]]] = {repair.name: repair for repair in REPAIRS}
# Repairs of one action word their entries alike, and are undone alike.
BY_ACTION: Final[dict[str, Repair[Any]]] = {repair.action: repair for repair in REPAIRS}
