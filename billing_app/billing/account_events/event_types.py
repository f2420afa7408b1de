"""The types of events that happen to accounts (docs/how-to/webhooks.md)."""

from enum import StrEnum


class EventType(StrEnum):
    """`TEST` is sent by a button, to one endpoint, and happens to no account."""

    ACCOUNT_STATE_CHANGED = "account.state_changed"
    ACCOUNT_CLOSED = "account.closed"
    PLAN_STARTED = "plan.started"
    PLAN_ENDED = "plan.ended"
    BALANCE_LOW = "balance.low"
    BALANCE_DEPLETED = "balance.depleted"
    BALANCE_RECOVERED = "balance.recovered"
    EXECUTION_REFUSED = "execution.refused"
    SUBSCRIPTION_CREATED = "subscription.created"
    SUBSCRIPTION_UPDATED = "subscription.updated"
    SUBSCRIPTION_CANCELLED = "subscription.cancelled"
    SUBSCRIPTION_RESUMED = "subscription.resumed"
    SUBSCRIPTION_PAST_DUE = "subscription.past_due"
    SUBSCRIPTION_RECOVERED = "subscription.recovered"
    SUBSCRIPTION_ENDED = "subscription.ended"
    INVOICE_PAID = "invoice.paid"
    INVOICE_FAILED = "invoice.failed"
    TOP_UP_BOUGHT = "top_up.bought"
    TOP_UP_STOPPED = "top_up.stopped"
    ALERT_RAISED = "alert.raised"
    TEST = "webhook.test"
