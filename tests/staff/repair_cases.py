"""What each repair is expected to be: one row here for every row of the registry.

The least role and the route are said here once more, so that a wrong one in the registry fails.
Roles, routes and forged events are all tried with these rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from billing_app.billing.staff.repairs.fields import RepairForm, stored
from billing_app.billing.staff.repairs.registry import BY_NAME
from billing_app.billing.staff.repairs.repair import Repair
from billing_app.db.enums import Role, StaffRole
from tests.staff.permission_scene import WORKFLOW, RepairScene


def nothing(_: RepairScene) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class RepairCase:
    """`values`: the form's; `target`: what it is done to, by default the scene's account, its first
    plan or its event. `changes`: it can be carried out in the scene; else it is refused there, and
    changes nothing."""

    least: StaffRole
    route: str
    values: Callable[[RepairScene], dict[str, Any]] = nothing
    target: Callable[[RepairScene], str] | None = None
    changes: bool = True

    def target_id(self, scene: RepairScene, repair: Repair[Any]) -> str:
        if self.target is not None:
            return self.target(scene)
        ids = {"account": scene.customer.id, "plan": scene.customer.plan_id()}
        return (ids | {"event": scene.event_id})[repair.target.noun]

    def form(self, scene: RepairScene, repair: Repair[Any]) -> RepairForm:
        return repair.form(**self.values(scene))

    def json(self, scene: RepairScene) -> dict[str, Any]:
        return {name: stored(value) for name, value in self.values(scene).items()}


def _range(scene: RepairScene) -> dict[str, Any]:
    return {"workflow": WORKFLOW, "since": scene.range.since, "until": scene.range.until}


SUPPORT, BILLING = StaffRole.SUPPORT, StaffRole.BILLING
REPAIR_CASES: Final[dict[str, RepairCase]] = {
    "grant": RepairCase(SUPPORT, "POST /accounts/{account_id}/grants", lambda _: {"executions": 3}),
    "adjust": RepairCase(
        BILLING, "POST /plans/{plan_id}/adjustments", lambda _: {"executions": -2}
    ),
    "refund": RepairCase(BILLING, "POST /executions/{event_id}/refund"),
    "refund_range": RepairCase(BILLING, "POST /accounts/{account_id}/refunds", _range),
    "extend_trial": RepairCase(
        BILLING,
        "POST /accounts/{account_id}/trial",
        lambda _: {"executions": 5},
        lambda scene: scene.trial.id,
    ),
    # The scene has no subscription: tests/payments/test_moves.py carries moves out.
    "move_offer": RepairCase(
        BILLING,
        "POST /accounts/{account_id}/offer",
        lambda _: {"offer": "growth"},
        changes=False,
    ),
    "add_member": RepairCase(
        BILLING,
        "POST /accounts/{account_id}/members",
        lambda scene: {"email": scene.newcomer, "role": Role.OWNER},
    ),
    # Nor an invoice: test_trusted_invoices.py and test_two_subscriptions.py carry these out.
    "trust_invoice": RepairCase(
        SUPPORT,
        "POST /accounts/{account_id}/invoices/trust",
        lambda _: {"invoice": "in_1"},
        changes=False,
    ),
    "cancel_subscription": RepairCase(
        BILLING,
        "POST /accounts/{account_id}/subscriptions/cancel",
        lambda _: {"subscription": "sub_1"},
        changes=False,
    ),
    "pause": RepairCase(BILLING, "POST /plans/{plan_id}/pause"),
    "resume": RepairCase(
        BILLING, "POST /plans/{plan_id}/resume", target=lambda scene: scene.customer.plan_id(2)
    ),
    "block": RepairCase(BILLING, "POST /accounts/{account_id}/block"),
    "unblock": RepairCase(
        BILLING, "POST /accounts/{account_id}/unblock", target=lambda scene: scene.blocked.id
    ),
}
BY_ROUTE: Final = {case.route: (BY_NAME[name], case) for name, case in REPAIR_CASES.items()}
