"""A typed client for the billing server, sync and async.

It is installed as `billing_client`, from the wheel that `make client` builds: the service that it
runs in needs nothing of the billing server. Here it is `billing_app.client`, beside the routes that
it calls, so that one commit changes both.
"""

from .alert_calls import Alert, AlertRule, AlertRules
from .answers import (
    CheckAnswer,
    CurrentPlan,
    NextExecutions,
    Page,
    PlanView,
    Receipt,
    SettleAnswer,
    UsageEvent,
)
from .asynchronous import AsyncBilling
from .blocking import Billing
from .bodies import CheckItem, Person
from .conversation import BatchResult
from .errors import (
    BillingError,
    ConflictError,
    DeniedError,
    ForbiddenError,
    InvalidRequestError,
    NotAuthenticatedError,
    NotFoundError,
    PaymentError,
    Problem,
    ProblemError,
    ProviderError,
    RateLimitedError,
    ServerError,
    UnavailableError,
    UndecidedError,
    UnexpectedAnswerError,
    WebhookError,
)
from .lease_reads import LeaseLine, LeaseView, LeaseWithLines
from .lease_terms import LeaseTerms
from .leases import Lease
from .provisioned import GrantedPlan, Organization, PortalLink, User
from .retries import Retries
from .runs import Outage, Run
from .version import __version__
from .webhook_calls import (
    NewWebhookSecret,
    WebhookAttempt,
    WebhookDelivery,
    WebhookDeliveryDetail,
    WebhookEndpoint,
)
from .webhooks import Webhook, verify_webhook

__all__ = [
    "Alert",
    "AlertRule",
    "AlertRules",
    "AsyncBilling",
    "BatchResult",
    "Billing",
    "BillingError",
    "CheckAnswer",
    "CheckItem",
    "ConflictError",
    "CurrentPlan",
    "DeniedError",
    "ForbiddenError",
    "GrantedPlan",
    "InvalidRequestError",
    "Lease",
    "LeaseLine",
    "LeaseTerms",
    "LeaseView",
    "LeaseWithLines",
    "NewWebhookSecret",
    "NextExecutions",
    "NotAuthenticatedError",
    "NotFoundError",
    "Organization",
    "Outage",
    "Page",
    "PaymentError",
    "Person",
    "PlanView",
    "PortalLink",
    "Problem",
    "ProblemError",
    "ProviderError",
    "RateLimitedError",
    "Receipt",
    "Retries",
    "Run",
    "ServerError",
    "SettleAnswer",
    "UnavailableError",
    "UndecidedError",
    "UnexpectedAnswerError",
    "UsageEvent",
    "User",
    "Webhook",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookDeliveryDetail",
    "WebhookEndpoint",
    "WebhookError",
    "__version__",
    "verify_webhook",
]
