"""Stored fingerprints stay valid: they tell a repeated request from a reused key."""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.staff.repairs.adjustments import ADJUST, Adjustment
from billing_app.billing.staff.repairs.fields import NoFields, RepairForm
from billing_app.billing.staff.repairs.grants import GRANT, Grant
from billing_app.billing.staff.repairs.moves import MOVE_OFFER, Move
from billing_app.billing.staff.repairs.refunds import REFUND, REFUND_RANGE, Range, RefundOne
from billing_app.billing.staff.repairs.repair import ACCOUNT, Repair
from billing_app.billing.staff.repairs.service import _request
from billing_app.billing.staff.repairs.stops import BLOCK, PAUSE
from billing_app.billing.staff.repairs.trial_extensions import EXTEND_TRIAL, Extension
from tests.factories import OPERATOR

NOW = datetime(2026, 11, 26, 11, 12, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)
ACCOUNT_ID = ids.encode_account(5)
PLAN_ID, EVENT_ID = ids.encode(ids.PLAN, 5, 1), ids.encode(ids.EVENT, 5, 9)
DECEMBER = "'2026-12-01T00:00:00+00:00'"


@pytest.mark.parametrize(
    ("repair", "form", "asked"),
    [
        (GRANT, Grant(7, END), f"<Action.GRANT: 'grant_executions'>, 5, (7, {DECEMBER})"),
        (
            ADJUST,
            Adjustment(-2),
            f"<Action.ADJUST: 'adjust_executions'>, 5, ('{PLAN_ID}', -2)",
        ),
        (REFUND, RefundOne(), f"<Action.REFUND: 'refund_executions'>, 5, ('{EVENT_ID}', None)"),
        (
            REFUND_RANGE,
            Range("w", NOW, END, "u"),
            (
                "<Action.REFUND: 'refund_executions'>, 5, (('workflow', 'w'), ('user_id', 'u'),"
                f" ('from', '2026-11-26T11:12:00+00:00'), ('to', {DECEMBER}))"
            ),
        ),
        (EXTEND_TRIAL, Extension(3), "<Action.EXTEND_TRIAL: 'extend_trial'>, 5, (3, None)"),
        (
            MOVE_OFFER,
            Move("growth"),
            "<Action.MOVE_OFFER: 'move_offer'>, 5, ('growth', None, 'period_end')",
        ),
        (PAUSE, NoFields(), f"<Action.PAUSE: 'pause_plan'>, 5, ('{PLAN_ID}',)"),
        (BLOCK, NoFields(), "<Action.BLOCK: 'block_account'>, 5, ()"),
    ],
)
def test_fingerprint_is_the_stored_one(repair: Repair[Any], form: RepairForm, asked: str) -> None:
    target_id = {"account": ACCOUNT_ID, "plan": PLAN_ID, "event": EVENT_ID}[repair.target.noun]
    request = _request(OPERATOR, repair, target_id, form, now=NOW, reason=" why")
    stored = blake2b(f"({asked}, None, ' why')".encode(), digest_size=16).digest()
    assert request.fingerprint() == stored
    assert (request.target_id == "") is (repair.target is ACCOUNT)
