"""The Reflex app: pages added, API mounted, nothing else."""

import reflex as rx
from reflex.istate.manager.memory import StateManagerMemory
from starlette.types import ASGIApp

from billing_app import routes
from billing_app.api.app import create_app
from billing_app.components.feedback import connection_lost
from billing_app.pages.alerts import alerts
from billing_app.pages.billing_dashboard import billing_dashboard
from billing_app.pages.billing_overview import billing_overview
from billing_app.pages.details import details
from billing_app.pages.email_links import confirm_email
from billing_app.pages.keys import keys
from billing_app.pages.not_found import not_found
from billing_app.pages.password_resets import change_password, forgot_password, reset_password
from billing_app.pages.sign_in import sign_in
from billing_app.pages.sign_up import sign_up
from billing_app.pages.staff.alert_rules import staff_alert_rules
from billing_app.pages.staff.audit import staff_audit
from billing_app.pages.staff.customer import staff_customer
from billing_app.pages.staff.customers import staff_customers
from billing_app.pages.staff.offer import staff_offer
from billing_app.pages.staff.offers import staff_offers
from billing_app.pages.staff.operations import staff_operations
from billing_app.pages.staff.overview import staff_overview
from billing_app.pages.staff.team import staff_team
from billing_app.pages.staff.webhooks import staff_webhooks
from billing_app.pages.unsubscribe import unsubscribe
from billing_app.pages.usage_stats import usage_stats
from billing_app.pages.webhooks import webhooks
from billing_app.reverse_proxy import ReverseProxy, lifespan_of
from billing_app.socket_pings import end_pings_with_sockets
from billing_app.states.alerts import AlertsState
from billing_app.states.auth_forms import AuthFormState
from billing_app.states.billing_dashboard import BillingDashboardState
from billing_app.states.billing_overview import BillingOverviewState
from billing_app.states.details import DetailsState
from billing_app.states.details_form import DetailsFormState
from billing_app.states.error_messages import show_failure
from billing_app.states.key_form import KeyFormState
from billing_app.states.keys import KeysState
from billing_app.states.page_states import PageStates
from billing_app.states.session import SessionGuard
from billing_app.states.staff.alert_rules import StaffAlertRulesState
from billing_app.states.staff.audit import StaffAuditState
from billing_app.states.staff.customer import StaffCustomerState
from billing_app.states.staff.customers import StaffCustomersState
from billing_app.states.staff.offers import StaffOffersState, StaffOfferState
from billing_app.states.staff.operations import StaffOperationsState
from billing_app.states.staff.overview import StaffOverviewState
from billing_app.states.staff.team import StaffTeamState
from billing_app.states.staff.webhooks import StaffWebhooksState
from billing_app.states.usage_stats import UsageStatsState
from billing_app.states.webhooks import WebhooksState

api = create_app()


def mount_api(pages: ASGIApp) -> ASGIApp:
    """Serves the pages and the API from one address."""
    return ReverseProxy(pages=pages, api=api)


app = rx.App(
    stylesheets=["/billing.css"],
    html_lang="en",
    head_components=[
        rx.el.link(rel="icon", href="/logo.svg", type="image/svg+xml"),
        rx.el.script(src="/restore_form_fields.js"),
    ],
    extra_app_wraps={(5, "Overlay"): lambda _: connection_lost()},
    api_transformer=mount_api,
    backend_exception_handler=show_failure,
)
if isinstance(app.state_manager, StateManagerMemory):
    app._state_manager = PageStates()  # noqa: SLF001 - there is no other way to choose a class
if app.sio is not None:
    end_pings_with_sockets(app.sio.eio)
app.add_middleware(SessionGuard())
app.register_lifespan_task(lifespan_of(api))

PAGES = (
    (
        billing_dashboard,
        routes.DASHBOARD,
        "Dashboard",
        [KeyFormState.begin, BillingDashboardState.begin, BillingDashboardState.load],
    ),
    (billing_overview, routes.OVERVIEW, "Plans", BillingOverviewState.load),
    (usage_stats, routes.USAGE, "Usage", UsageStatsState.load),
    (
        details,
        routes.DETAILS,
        "Details",
        [DetailsFormState.dismiss_done, DetailsState.load],
    ),
    (keys, routes.KEYS, "API keys", [KeyFormState.begin, KeysState.load]),
    (alerts, routes.ALERTS_PAGE, "Alerts", [AlertsState.begin, AlertsState.load]),
    (
        webhooks,
        routes.WEBHOOKS_PAGE,
        "Webhooks",
        [WebhooksState.begin, WebhooksState.load],
    ),
    (sign_in, routes.SIGN_IN, "Sign in", AuthFormState.load),
    (sign_up, routes.SIGN_UP, "Start a trial", AuthFormState.load),
    (
        forgot_password,
        routes.FORGOT_PASSWORD,
        "Forgot your password?",
        AuthFormState.load_for_anybody,
    ),
    (reset_password, routes.RESET_PASSWORD, "Choose a new password", AuthFormState.load_link),
    (
        confirm_email,
        routes.CONFIRM_EMAIL,
        "Confirm your email address",
        AuthFormState.load_email_link,
    ),
    (
        unsubscribe,
        routes.UNSUBSCRIBED,
        "Unsubscribe",
        AuthFormState.load_unsubscribe_link,
    ),
    (
        change_password,
        routes.CHANGE_PASSWORD,
        "Change your password",
        AuthFormState.load_for_signed_in,
    ),
    (not_found, routes.NOT_FOUND, "Page not found", None),
)
STAFF_PAGES = (
    (staff_overview, routes.STAFF, "Overview", StaffOverviewState.load),
    (staff_customers, routes.STAFF_CUSTOMERS, "Customers", StaffCustomersState.load),
    (staff_customer, routes.STAFF_CUSTOMER, "Customer", StaffCustomerState.load),
    (staff_offers, routes.STAFF_OFFERS, "Offers", StaffOffersState.load),
    (staff_offer, routes.STAFF_OFFER, "Offer", StaffOfferState.load),
    (staff_operations, routes.STAFF_OPERATIONS, "Operations", StaffOperationsState.load),
    (staff_audit, routes.STAFF_AUDIT, "Audit", StaffAuditState.load),
    (staff_team, routes.STAFF_TEAM, "Team", StaffTeamState.load),
    (
        staff_webhooks,
        routes.STAFF_WEBHOOKS,
        "Webhooks",
        [StaffWebhooksState.begin, StaffWebhooksState.load],
    ),
    (
        staff_alert_rules,
        routes.STAFF_ALERT_RULES,
        "Alert rules",
        StaffAlertRulesState.load,
    ),
)
for pages, site in ((PAGES, "Billing"), (STAFF_PAGES, "Staff console")):
    for page, route, title, on_load in pages:
        app.add_page(page, route=route, title=f"{title} · {site}", on_load=on_load)
