"""The staff's part of the API, under /billing/admin."""

from typing import Final

from billing_app.api.staff import (
    alert_rules,
    audit,
    customers,
    jobs,
    members,
    metrics,
    offers,
    repairs,
    webhooks,
)

modules: Final = (members, repairs, audit, offers, customers, webhooks, jobs, metrics, alert_rules)
