"""One account: header, tabs, and the menu of repairs."""

from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.staff.repairs.registry import REPAIRS
from billing_app.billing.staff.repairs.repair import Repair, Shown
from billing_app.components.cards import bare_card
from billing_app.components.controls import native_link
from billing_app.components.dialogs import MENU_OF_DIALOGS
from billing_app.components.feedback import notice
from billing_app.components.numbers import badge, meter
from billing_app.pages.staff import customer_access, customer_money, customer_usage
from billing_app.pages.staff.frame import console, unknown
from billing_app.pages.staff.repairs import repair_dialogs
from billing_app.states.staff import customer as names
from billing_app.states.staff.customer import StaffCustomerState as State
from billing_app.states.staff.repairs import VIEW
from billing_app.states.staff.views import DisputeLine

BLOCKING = frozenset({Shown.WHILE_OPEN, Shown.WHILE_BLOCKED})
TABS = (
    (names.SUMMARY, "Summary", customer_usage.summary),
    (names.LEDGER, "Ledger", customer_usage.ledger),
    (names.HOLDS, "Reservations", customer_usage.holds),
    (names.MONEY, "Billing", customer_money.money),
    (names.WEBHOOKS, "Webhooks", customer_money.webhooks),
    (names.PEOPLE, "Access", customer_access.access),
    (names.AUDIT, "Audit", customer_access.audit),
)


def staff_customer() -> rx.Component:
    """The state of an account, and what can be done for it."""
    return console(
        rx.cond(
            State.is_missing,
            unknown("Account not found", "Back to customers", routes.STAFF_CUSTOMERS),
            rx.fragment(_head(), _alert(), _figures(), _tabs(), repair_dialogs()),
        ),
        path=routes.STAFF_CUSTOMERS,
        state=State,
    )


def _head() -> rx.Component:
    head = State.head
    return rx.el.header(
        rx.el.div(
            rx.el.div(
                rx.el.h1(head.name, class_name="page-title"),
                badge(head.status, head.tone),
                rx.cond(head.is_own, badge("Your own account", "warning")),
                class_name="title-row",
            ),
            rx.el.p(
                head.kind,
                rx.cond(head.email != "", f" · {head.email}", ""),
                f" · since {head.since}",
                rx.cond(head.provider_id != "", _provider()),
                class_name="page-note",
            ),
        ),
        rx.el.div(
            rx.el.button(
                rx.icon("eye", aria_hidden="true"),
                "View as customer",
                type="button",
                class_name="button",
                on_click=State.ask(VIEW, "", ""),
            ),
            _menu(),
            class_name="page-actions",
        ),
        class_name="page-head",
    )


def _alert() -> rx.Component:
    head = State.head
    return rx.fragment(
        rx.cond(head.alert != "", notice(tone="bad", title=head.alert, text=head.alert_text)),
        rx.foreach(State.disputes, _dispute),
    )


def _dispute(dispute: ObjectVar[DisputeLine]) -> rx.Component:
    link = native_link(
        "View payment at Stripe",
        rx.icon("external-link", aria_hidden="true"),
        href=dispute.provider_url,
        class_name="button",
        custom_attrs={"target": "_blank", "rel": "noreferrer"},
    )
    return rx.fragment(
        notice(
            tone="bad",
            title=dispute.title,
            text=dispute.text,
            actions=[rx.cond(dispute.provider_url != "", link)],
        ),
        key=dispute.row,
    )


def _provider() -> rx.Component:
    head = State.head
    return rx.fragment(
        " · ",
        rx.cond(
            head.provider_url != "",
            native_link(
                head.provider_id,
                href=head.provider_url,
                class_name="text-link",
                custom_attrs={"target": "_blank", "rel": "noreferrer"},
            ),
            rx.el.code(head.provider_id, class_name="code"),
        ),
    )


def _menu() -> rx.Component:
    in_menu = [repair for repair in REPAIRS if repair.shown is not Shown.IN_ROW]
    return rx.dropdown_menu.root(
        rx.dropdown_menu.trigger(
            rx.el.button(
                "Actions",
                rx.icon("chevron-down", aria_hidden="true"),
                type="button",
                class_name="button strong",
            )
        ),
        rx.dropdown_menu.content(
            *[_item(repair) for repair in in_menu if repair.shown not in BLOCKING],
            rx.dropdown_menu.separator(),
            *[_item(repair) for repair in in_menu if repair.shown in BLOCKING],
            min_width="220px",
            custom_attrs=MENU_OF_DIALOGS,
        ),
    )


def _item(repair: Repair[Any]) -> rx.Component:
    """Where it applies; disabled for a role that may not."""
    look: dict[str, Any] = {"color_scheme": "red"} if repair.is_harsh else {}
    item = rx.dropdown_menu.item(
        repair.title,
        disabled=~State.allowed.contains(repair.action.value),
        on_click=State.ask(repair.name, "", ""),
        **look,
    )
    conditions = {
        Shown.ON_TRIAL: State.head.is_trial,
        Shown.OF_ORGANIZATION: ~State.head.is_trial,
        Shown.WITH_SUBSCRIPTION: State.has_subscription,
        Shown.WHILE_OPEN: ~State.head.is_blocked,
        Shown.WHILE_BLOCKED: State.head.is_blocked,
    }
    condition = conditions.get(repair.shown)
    return item if condition is None else rx.cond(condition, item)


def _figures() -> rx.Component:
    head = State.head
    return bare_card(
        rx.el.div(
            _figure("Remaining", head.left, head.of_total, _meter()),
            _figure("Forecast", head.pace, rx.cond(head.held != "", head.held, "Nothing reserved")),
            _figure("Plan", head.plan, head.plan_note),
            _figure("Subscription", head.subscription, head.subscription_note),
            class_name="figures",
        )
    )


def _figure(name: str, value: rx.Var[str], note: rx.Var[str], *more: rx.Component) -> rx.Component:
    return rx.el.div(
        rx.el.div(name, class_name="stat-label"),
        rx.el.div(value, class_name="figure-value"),
        rx.el.div(note, class_name="stat-hint"),
        *more,
        class_name="figure",
    )


def _meter() -> rx.Component:
    head = State.head
    return rx.el.div(
        meter(
            percent=head.left_percent,
            held_percent=head.held_percent,
            tone=head.meter_tone,
            label="Executions left",
            value=head.remaining_text,
            thin=True,
        ),
        class_name="figure-meter",
    )


def _tabs() -> rx.Component:
    return rx.tabs.root(
        rx.tabs.list(
            *[rx.tabs.trigger(text, value=name) for name, text, _ in TABS], class_name="tabs"
        ),
        *[
            rx.tabs.content(rx.el.div(draw(), class_name="tab"), value=name)
            for name, _, draw in TABS
        ],
        value=State.part,
        on_change=State.choose_part,
    )
