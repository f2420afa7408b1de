"""Enumerations: the values of columns, and the domain's vocabulary."""

from enum import StrEnum


class AccountKind(StrEnum):
    USER = "user"
    ORGANIZATION = "organization"


class Role(StrEnum):
    OWNER = "owner"
    BILLING_ADMIN = "billing_admin"
    MEMBER = "member"


class StaffRole(StrEnum):
    """What a staff member may do; each role includes the ones before it."""

    SUPPORT = "support"
    BILLING = "billing"
    ADMIN = "admin"


class AuditRole(StrEnum):
    """Who an audit entry is by: staff with their role then, a customer, the system itself, or a
    service by its key."""

    SUPPORT = StaffRole.SUPPORT
    BILLING = StaffRole.BILLING
    ADMIN = StaffRole.ADMIN
    CUSTOMER = "customer"
    SYSTEM = "system"
    SERVICE = "service"


class PlanType(StrEnum):
    TRIAL = "trial"
    PAID = "paid"


class PlanSource(StrEnum):
    """`BRIDGE`: the next period of a subscription, until its renewal is known here."""

    TRIAL = "trial"
    CONTRACT = "contract"
    SUBSCRIPTION = "subscription"
    BRIDGE = "bridge"
    PACK = "pack"
    OVERAGE = "overage"
    STAFF_GRANT = "staff_grant"


class TrialUseKind(StrEnum):
    """What identifies a person who had a trial."""

    EMAIL = "email"
    CARD = "card"


class EndReason(StrEnum):
    DEPLETED = "depleted"
    PERIOD_ENDED = "period_ended"
    CANCELLED = "cancelled"
    REPLACED = "replaced"


class EventKind(StrEnum):
    CONSUME = "consume"
    COMMIT = "commit"
    REFUND = "refund"
    ADJUSTMENT = "adjustment"


class ReservationStatus(StrEnum):
    HELD = "held"
    COMMITTED = "committed"
    RELEASED = "released"
    EXPIRED = "expired"


class DenialReason(StrEnum):
    INSUFFICIENT_EXECUTIONS = "insufficient_executions"
    PLAN_NOT_FOUND = "plan_not_found"
    TRIAL_ENDED = "trial_ended"
    PAYMENT_PAST_DUE = "payment_past_due"
    BUDGET_EXCEEDED = "budget_exceeded"
    PLAN_PAUSED = "plan_paused"
    ACCOUNT_BLOCKED = "account_blocked"


class Interval(StrEnum):
    MONTH = "month"
    YEAR = "year"
    ONCE = "once"


class Overage(StrEnum):
    HARD = "hard"
    SOFT = "soft"


class Scope(StrEnum):
    EXECUTIONS = "executions"
    PLANS_READ = "plans:read"
    PLANS_WRITE = "plans:write"
    SUBSCRIPTIONS = "subscriptions"
    ACCOUNTS = "accounts"
    ALERTS = "alerts"
    WEBHOOKS = "webhooks"
    STAFF = "staff"


class SubscriptionStatus(StrEnum):
    """The provider's statuses; all but the last two are live."""

    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    INCOMPLETE = "incomplete"
    PAUSED = "paused"
    INCOMPLETE_EXPIRED = "incomplete_expired"
    CANCELED = "canceled"


class CheckoutStatus(StrEnum):
    """CONFIRMING: complete at the provider, and its effect is not applied here yet."""

    CREATING = "creating"
    OPEN = "open"
    CONFIRMING = "confirming"
    COMPLETE = "complete"
    EXPIRED = "expired"


class InvoiceStatus(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"


class ProviderRequestState(StrEnum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class ReportState(StrEnum):
    """Of a report to the provider: pending until its arrival is confirmed."""

    PENDING = "pending"
    DONE = "done"


class WebhookState(StrEnum):
    RECEIVED = "received"
    PROCESSED = "processed"
    FAILED = "failed"
    DEAD = "dead"


class EndpointStatus(StrEnum):
    """Of a webhook endpoint. `PAUSED`: events wait. `DISABLED`: it failed for days; events that
    happen meanwhile are not delivered."""

    ENABLED = "enabled"
    PAUSED = "paused"
    DISABLED = "disabled"


class DeliveryStatus(StrEnum):
    """Of an outgoing webhook. `FAILED`: no attempt follows."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class When(StrEnum):
    NOW = "now"
    PERIOD_END = "period_end"


class AlertKind(StrEnum):
    """What an alert is about. The first three are about the balance: the decision that crosses
    their threshold raises them."""

    REMAINING_SHARE = "remaining_share"
    REMAINING_NUMBER = "remaining_number"
    OVERAGE_SPENT = "overage_spent"
    FORECAST_END = "forecast_end"
    RENEWAL_COMING = "renewal_coming"
    PAYMENT_FAILED = "payment_failed"
    CARD_EXPIRING = "card_expiring"
    EXECUTION_REFUSED = "execution_refused"
    UNUSUAL_PACE = "unusual_pace"
    ERROR_LOOP = "error_loop"


class NoticeKind(StrEnum):
    """What a mail about an account says happened, or is about to."""

    RECEIPT = "receipt"
    PAYMENT_FAILED = "payment_failed"
    PLAN_SUSPENDED = "plan_suspended"
    RENEWAL_COMING = "renewal_coming"
    PLAN_CHANGED = "plan_changed"
    CHANGE_SCHEDULED = "change_scheduled"
    CHANGE_WITHDRAWN = "change_withdrawn"
    PLAN_CANCELLED = "plan_cancelled"
    PLAN_RESUMED = "plan_resumed"
    PLAN_ENDED = "plan_ended"
    TOP_UP_STOPPED = "top_up_stopped"
    KEY_EXPIRING = "key_expiring"
    SUPPORT = "support"


class MailTopic(StrEnum):
    """What somebody chooses to be mailed about, besides alerts. Failed payments and renewals are
    topics that alerts share."""

    RECEIPTS = "receipts"
    FAILED_PAYMENTS = "payment_failed"
    RENEWALS = "renewal_coming"
    PLAN_CHANGES = "plan_changes"
    TOP_UPS = "top_ups"
    KEYS = "keys"
    SUPPORT = "support"


class AlertChannel(StrEnum):
    APP = "app"
    MAIL = "mail"
