"""Every table, so that importing this package fills `SQLModel.metadata`."""

from billing_app.db.tables.access import (
    ApiKey,
    AttemptCounter,
    EmailChange,
    Invitation,
    KnownBrowser,
    PasswordReset,
    Session,
)
from billing_app.db.tables.account_events import AccountEvent
from billing_app.db.tables.accounts import (
    Account,
    AccountProfile,
    BillingDetails,
    Membership,
    Organization,
    User,
)
from billing_app.db.tables.alerts import (
    Alert,
    AlertDelivery,
    AlertPreferences,
    AlertRules,
    DefaultAlertRules,
    GivenBackCount,
)
from billing_app.db.tables.executions import (
    CarriedForward,
    ExecutionEvent,
    IdempotencyKey,
    Reservation,
    ReservationHold,
)
from billing_app.db.tables.leases import Lease, LeaseLine
from billing_app.db.tables.notices import Notice
from billing_app.db.tables.offers import Offer, OfferDraft, OfferVersion
from billing_app.db.tables.overage import (
    MeterReport,
    OverageBill,
    OverageLimit,
    OverageSettlement,
    TopUp,
)
from billing_app.db.tables.payments import (
    Checkout,
    Invoice,
    OfferPrice,
    ProviderCustomer,
    ProviderIdentity,
    ProviderRequest,
    Reconciliation,
    Subscription,
    WebhookEvent,
)
from billing_app.db.tables.plans import GrantedPlan, Plan, TrialUse
from billing_app.db.tables.platform import (
    AccountNearLimit,
    PlatformDay,
    PlatformDenial,
    PlatformRefresh,
)
from billing_app.db.tables.portal import PortalLink, PortalSession
from billing_app.db.tables.provider_reads import (
    MirroredInvoice,
    ProviderBudget,
    ProviderMirror,
    ReconcileWalk,
)
from billing_app.db.tables.search_index import SearchWord
from billing_app.db.tables.staff import AuditEntry, StaffMember, StaffView
from billing_app.db.tables.usage import DailyDenial, DailyOverage, DailyUsage
from billing_app.db.tables.webhooks_out import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)

__all__ = [
    "Account",
    "AccountEvent",
    "AccountNearLimit",
    "AccountProfile",
    "Alert",
    "AlertDelivery",
    "AlertPreferences",
    "AlertRules",
    "ApiKey",
    "AttemptCounter",
    "AuditEntry",
    "BillingDetails",
    "CarriedForward",
    "Checkout",
    "DailyDenial",
    "DailyOverage",
    "DailyUsage",
    "DefaultAlertRules",
    "EmailChange",
    "ExecutionEvent",
    "GivenBackCount",
    "GrantedPlan",
    "IdempotencyKey",
    "Invitation",
    "Invoice",
    "KnownBrowser",
    "Lease",
    "LeaseLine",
    "Membership",
    "MeterReport",
    "MirroredInvoice",
    "Notice",
    "Offer",
    "OfferDraft",
    "OfferPrice",
    "OfferVersion",
    "Organization",
    "OverageBill",
    "OverageLimit",
    "OverageSettlement",
    "PasswordReset",
    "Plan",
    "PlatformDay",
    "PlatformDenial",
    "PlatformRefresh",
    "PortalLink",
    "PortalSession",
    "ProviderBudget",
    "ProviderCustomer",
    "ProviderIdentity",
    "ProviderMirror",
    "ProviderRequest",
    "ReconcileWalk",
    "Reconciliation",
    "Reservation",
    "ReservationHold",
    "SearchWord",
    "Session",
    "StaffMember",
    "StaffView",
    "Subscription",
    "TopUp",
    "TrialUse",
    "User",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
]
