"""The Reflex app: pages added, API mounted, nothing else."""

import reflex as rx
from starlette.types import ASGIApp

from billing_app import routes
from billing_app.api.app import create_app
from billing_app.components.feedback import connection_lost
from billing_app.pages.billing_dashboard import billing_dashboard
from billing_app.pages.billing_overview import billing_overview
from billing_app.pages.not_found import not_found
from billing_app.pages.password_resets import change_password, forgot_password, reset_password
from billing_app.pages.sign_in import sign_in
from billing_app.pages.sign_up import sign_up
from billing_app.pages.staff.audit import staff_audit
from billing_app.pages.staff.customer import staff_customer
from billing_app.pages.staff.customers import staff_customers
from billing_app.pages.staff.offer import staff_offer
from billing_app.pages.staff.offers import staff_offers
from billing_app.pages.staff.operations import staff_operations
from billing_app.pages.staff.overview import staff_overview
from billing_app.pages.staff.team import staff_team
from billing_app.pages.usage_stats import usage_stats
from billing_app.reverse_proxy import OneAddress, lifespan_of
from billing_app.states.auth_forms import AuthFormState
from billing_app.states.billing_dashboard import BillingDashboardState
from billing_app.states.billing_overview import BillingOverviewState
from billing_app.states.error_messages import show_failure
from billing_app.states.session import SessionGuard
from billing_app.states.staff.audit import StaffAuditState
from billing_app.states.staff.customer import StaffCustomerState
from billing_app.states.staff.customers import StaffCustomersState
from billing_app.states.staff.offers import StaffOffersState, StaffOfferState
from billing_app.states.staff.operations import StaffOperationsState
from billing_app.states.staff.overview import StaffOverviewState
from billing_app.states.staff.team import StaffTeamState
from billing_app.states.usage_stats import UsageStatsState

api = create_app()


def behind_one_address(pages: ASGIApp) -> ASGIApp:
    """Serves the pages and the API from one address."""
    return OneAddress(pages=pages, api=api)


app = rx.App(
    stylesheets=["/billing.css"],
    html_lang="en",
    head_components=[
        rx.el.link(rel="icon", href="/logo.svg", type="image/svg+xml"),
        rx.el.script(src="/restore_form_fields.js"),
    ],
    extra_app_wraps={(5, "Overlay"): lambda _: connection_lost()},
    api_transformer=behind_one_address,
    backend_exception_handler=show_failure,
)
app.add_middleware(SessionGuard())
app.register_lifespan_task(lifespan_of(api))

app.add_page(
    billing_dashboard,
    route=routes.DASHBOARD,
    title="Dashboard · Billing",
    on_load=BillingDashboardState.load,
)
app.add_page(
    billing_overview,
    route=routes.OVERVIEW,
    title="Plans · Billing",
    on_load=BillingOverviewState.load,
)
app.add_page(
    usage_stats,
    route=routes.USAGE,
    title="Usage · Billing",
    on_load=UsageStatsState.load,
)
app.add_page(
    staff_customers,
    route=routes.STAFF_CUSTOMERS,
    title="Customers · Staff console",
    on_load=StaffCustomersState.load,
)
app.add_page(
    staff_customer,
    route=routes.STAFF_CUSTOMER,
    title="Customer · Staff console",
    on_load=StaffCustomerState.load,
)
app.add_page(
    staff_audit,
    route=routes.STAFF_AUDIT,
    title="Audit · Staff console",
    on_load=StaffAuditState.load,
)
app.add_page(
    staff_offers,
    route=routes.STAFF_OFFERS,
    title="Offers · Staff console",
    on_load=StaffOffersState.load,
)
app.add_page(
    staff_offer,
    route=routes.STAFF_OFFER,
    title="Offer · Staff console",
    on_load=StaffOfferState.load,
)
app.add_page(
    staff_operations,
    route=routes.STAFF_OPERATIONS,
    title="Operations · Staff console",
    on_load=StaffOperationsState.load,
)
app.add_page(
    staff_overview,
    route=routes.STAFF,
    title="Overview · Staff console",
    on_load=StaffOverviewState.load,
)
app.add_page(
    staff_team, route=routes.STAFF_TEAM, title="Team · Staff console", on_load=StaffTeamState.load
)
app.add_page(sign_in, route=routes.SIGN_IN, title="Sign in · Billing", on_load=AuthFormState.load)
app.add_page(
    sign_up, route=routes.SIGN_UP, title="Start a trial · Billing", on_load=AuthFormState.load
)
app.add_page(
    forgot_password,
    route=routes.FORGOT_PASSWORD,
    title="Forgot your password? · Billing",
    on_load=AuthFormState.load_for_anybody,
)
app.add_page(
    reset_password,
    route=routes.RESET_PASSWORD,
    title="Choose a new password · Billing",
    on_load=AuthFormState.load_link,
)
app.add_page(
    change_password,
    route=routes.CHANGE_PASSWORD,
    title="Change your password · Billing",
    on_load=AuthFormState.load_for_signed_in,
)
app.add_page(not_found, route=routes.NOT_FOUND, title="Page not found · Billing")
