"""Every path of the pages and of the API, once."""

from typing import Final

DASHBOARD: Final = "/"
OVERVIEW: Final = "/overview"
USAGE: Final = "/usage"
SIGN_IN: Final = "/sign-in"
SIGN_UP: Final = "/sign-up"
FORGOT_PASSWORD: Final = "/forgot-password"
RESET_PASSWORD: Final = "/reset-password"
CHANGE_PASSWORD: Final = "/change-password"
DETAILS: Final = "/details"
ALERTS_PAGE: Final = "/alerts"
KEYS: Final = "/keys"
WEBHOOKS_PAGE: Final = "/webhooks"
UNSUBSCRIBED: Final = "/unsubscribe"
CONFIRM_EMAIL: Final = "/confirm-email"
DEMO_MAIL: Final = "/demo/mail"  # Only in the demo; the API serves it.
NOT_FOUND: Final = "404"  # Reflex's name for the page of an unknown address

STAFF: Final = "/staff"
STAFF_CUSTOMERS: Final = "/staff/customers"
STAFF_CUSTOMER: Final = "/staff/customers/[customer]"
STAFF_OFFERS: Final = "/staff/offers"
STAFF_OFFER: Final = "/staff/offers/[offer_code]"
STAFF_OPERATIONS: Final = "/staff/operations"
STAFF_TEAM: Final = "/staff/team"
STAFF_WEBHOOKS: Final = "/staff/webhooks"
STAFF_ALERT_RULES: Final = "/staff/alert-rules"
STAFF_AUDIT: Final = "/staff/audit"

STAFF_PAGES: Final = (
    STAFF,
    STAFF_CUSTOMERS,
    STAFF_OFFERS,
    STAFF_OPERATIONS,
    STAFF_TEAM,
    STAFF_AUDIT,
    STAFF_WEBHOOKS,
    STAFF_ALERT_RULES,
)
SIGNED_IN_PAGES: Final = (DASHBOARD, OVERVIEW, USAGE, DETAILS, ALERTS_PAGE, KEYS, WEBHOOKS_PAGE)
OPEN_PAGES: Final = (SIGN_IN, SIGN_UP, FORGOT_PASSWORD, RESET_PASSWORD, CONFIRM_EMAIL, UNSUBSCRIBED)
UPGRADE: Final = OVERVIEW

API_PREFIX: Final = "/billing"
HEALTH: Final = "/healthz"
READY: Final = "/readyz"
METRICS: Final = "/metrics"
API_OTHER: Final = (HEALTH, READY, METRICS)

CHECK_EXECUTIONS: Final = "/billing/plans/check-executions"
CHECK_EXECUTIONS_BATCH: Final = "/billing/plans/check-executions/batch"
SESSION_CREATE: Final = "/billing/session"
SESSION_DELETE: Final = "/billing/session/delete"
SESSION_DELETE_ALL: Final = "/billing/session/delete-all"
USERS: Final = "/billing/users"
USER_CREATE: Final = USERS
ORGANIZATIONS: Final = "/billing/organizations"
PASSWORD_RESETS: Final = "/billing/password-resets"
PASSWORDS: Final = "/billing/passwords"
PASSWORD_RESET: Final = "/billing/passwords/reset"
PASSWORD_CHANGE: Final = "/billing/passwords/change"
EMAIL_LINKS: Final = "/billing/email-links"
UNSUBSCRIBE: Final = "/billing/unsubscribe"
EMAIL_CONFIRMATIONS: Final = "/billing/email-confirmations"
PORTAL_LINKS: Final = "/billing/portal-links"
PORTAL_LINK_OPEN: Final = "/billing/portal-links/open"
LEASES: Final = "/billing/leases"
PLANS: Final = "/billing/plans"
CURRENT_PLAN: Final = "/billing/plans/current"
USAGE_TOTALS: Final = "/billing/usage"
USAGE_EXPORT: Final = "/billing/usage/export.csv"
ACCOUNT_HISTORY: Final = "/billing/account-history"
ALERTS: Final = "/billing/alerts"
ALERT_RULES: Final = "/billing/alert-rules"
WEBHOOK_ENDPOINTS: Final = "/billing/webhook-endpoints"
STRIPE_WEBHOOKS: Final = "/billing/webhooks/stripe"
API_DOCS: Final = "/billing/docs"
OPENAPI: Final = "/billing/openapi.json"

SESSION_COOKIE: Final = "billing_session"
BROWSER_COOKIE: Final = "billing_browser"
PASSWORD_COOKIE: Final = "billing_password_reset"
EMAIL_COOKIE: Final = "billing_email_link"


def is_staff_page(path: str) -> bool:
    """Whether a path belongs to the staff console, known or not."""
    return path == STAFF or path.startswith(f"{STAFF}/")


def is_staff_detail_page(path: str) -> bool:
    """Whether it is the page of a single customer or offer."""
    folder, _, name = path.rstrip("/").rpartition("/")
    return bool(name) and folder in (STAFF_CUSTOMERS, STAFF_OFFERS)


def staff_customer(account_id: str) -> str:
    """The console's page of an account."""
    return f"{STAFF_CUSTOMERS}/{account_id}"


def staff_offer(code: str) -> str:
    """The console's page of an offer."""
    return f"{STAFF_OFFERS}/{code}"


def is_demo_mail(path: str) -> bool:
    """Whether a path shows the demo's mail, where this is the demo."""
    return path == DEMO_MAIL or path.startswith(f"{DEMO_MAIL}/")


def is_api(path: str) -> bool:
    """Whether a path belongs to the billing API, known or not: its 404 is JSON, not a page."""
    return path == API_PREFIX or path.startswith(f"{API_PREFIX}/") or path in API_OTHER
