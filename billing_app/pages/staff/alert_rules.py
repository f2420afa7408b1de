"""Alert rules: the defaults of accounts without their own, by offer."""

import reflex as rx

from billing_app import routes
from billing_app.billing.staff.access.permissions import Action
from billing_app.components.cards import page_head
from billing_app.components.controls import select
from billing_app.pages.alert_rules import rules_card, rules_result
from billing_app.pages.staff.frame import console
from billing_app.states.alert_rules import DEFAULTS
from billing_app.states.staff.alert_rules import EVERY_OFFER
from billing_app.states.staff.alert_rules import StaffAlertRulesState as State


def staff_alert_rules() -> rx.Component:
    """Composes the page."""
    may_change = State.allowed.contains(Action.EDIT_ALERT_RULES.value)
    is_of_offer = State.offer_code != EVERY_OFFER
    options: list[rx.Component] = [
        rx.el.option("Every other offer", value=EVERY_OFFER),
        rx.foreach(State.offer_codes, lambda code: rx.el.option(code, value=code)),
    ]
    return console(
        rx.fragment(
            page_head(
                "Alert rules",
                "The defaults of accounts that have not chosen their own",
                select(
                    "Offer", options=options, value=State.offer_code, on_change=State.choose_offer
                ),
            ),
            rules_result(State),
            rules_card(
                State,
                may_change=may_change,
                has_reason=True,
                note=rx.cond(
                    is_of_offer & ~State.has_rules,
                    "Those of every other offer; change one to give this offer its own",
                    "",
                ),
                actions=[
                    rx.cond(
                        may_change & is_of_offer & State.has_rules,
                        rx.el.button(
                            "Use those of every other offer",
                            type="button",
                            class_name="button quiet",
                            on_click=State.ask_rule(DEFAULTS, ""),
                        ),
                    )
                ],
            ),
        ),
        path=routes.STAFF_ALERT_RULES,
        state=State,
    )
