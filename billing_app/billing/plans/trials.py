"""Trial plans: each user of the public organization gets one, in the transaction that adds them.

When a service names new users, the statements create them on the hot path's connection, many at
once. A person who signs up gets `trial_plan` in the transaction of the sign-up.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from billing_app.db.enums import PlanSource, PlanType
from billing_app.db.tables import Plan

TRIAL_PLAN_NAME: Final = "Trial"

ENSURE_USERS: Final = """
INSERT INTO users (id, name, created_at)
SELECT id, '', now() FROM unnest($1::text[]) AS new (id) ORDER BY id
ON CONFLICT DO NOTHING
"""

ENSURE_MEMBERSHIPS: Final = """
INSERT INTO memberships (organization_id, user_id, role, created_at)
SELECT $1, user_id, 'member', now() FROM unnest($2::text[]) AS new (user_id) ORDER BY user_id
ON CONFLICT DO NOTHING
"""

ENSURE_ACCOUNTS: Final = """
INSERT INTO accounts (id, kind, organization_id, user_id, created_at)
SELECT id, 'user', $1, user_id, now()
FROM unnest($2::bigint[], $3::text[]) AS new (id, user_id) ORDER BY user_id
ON CONFLICT DO NOTHING
"""

ENSURE_TRIALS: Final = """
INSERT INTO plans (account_id, sequence, type, name, source, executions, used, held,
                   starts_at, ends_at, blocked_at, created_at)
SELECT id, 1, 'trial', $1, 'trial', $2::bigint, 0, 0, now(), now() + $3::int * interval '1 day',
       blocked_at, now()
FROM (
    SELECT id, blocked_at FROM accounts WHERE kind = 'user' AND user_id = ANY($4::text[])
    ORDER BY id FOR SHARE
) AS account
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class TrialTerms:
    """What a new user gets. `days` None: the trial lasts until it is depleted. `one_per_person`: an
    address that has had a trial gets no other."""

    public_organization_id: str
    executions: int
    days: int | None
    one_per_person: bool = True


def trial_plan(account_id: int, terms: TrialTerms, now: datetime) -> Plan:
    return Plan(
        account_id=account_id,
        sequence=1,
        type=PlanType.TRIAL,
        name=TRIAL_PLAN_NAME,
        source=PlanSource.TRIAL,
        executions=terms.executions,
        starts_at=now,
        ends_at=None if terms.days is None else now + timedelta(days=terms.days),
        created_at=now,
    )
