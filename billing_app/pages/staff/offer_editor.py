"""The form of an offer's draft; the card beside it updates as you type."""

from typing import Any, Literal

import reflex as rx

from billing_app.billing.staff.access.permissions import Action
from billing_app.components.cards import card
from billing_app.db.enums import Interval
from billing_app.states.staff.offers import StaffOfferState as State

DELAY_MS = 200
InputMode = Literal["text", "numeric", "decimal"]


def editor() -> rx.Component:
    """For admins; others read it."""
    may_edit = State.allowed.contains(Action.EDIT_OFFER.value)
    is_pack = State.form["interval"] == Interval.ONCE.value
    return card(
        rx.el.fieldset(
            rx.cond(State.is_new, _code()),
            _field("Name", "name"),
            _field("Description", "description"),
            rx.el.div(
                _choice(
                    "Billing",
                    "interval",
                    (
                        (Interval.MONTH.value, "Monthly"),
                        (Interval.YEAR.value, "Yearly"),
                        (Interval.ONCE.value, "One-time pack"),
                    ),
                ),
                _field("Executions included", "executions", mode="numeric"),
                class_name="fields",
            ),
            rx.el.div(
                _field("Price", "price", mode="decimal"),
                _field("Currency", "currency"),
                class_name="fields",
            ),
            rx.cond(is_pack, _of_packs(), _of_subscriptions()),
            rx.el.div(
                _field(
                    "Order of use",
                    "priority",
                    mode="numeric",
                    hint="Lower numbers first, then what ends first; empty for the default",
                ),
                _field("List position", "position", mode="numeric"),
                _choice("Visibility", "visible", (("yes", "Listed"), ("no", "Hidden"))),
                class_name="fields",
            ),
            disabled=~may_edit,
            class_name="editor",
        ),
        title="Draft",
        note="Existing customers keep their version until they are moved",
    )


def _of_packs() -> rx.Component:
    return rx.el.div(
        _field("Valid for (days)", "valid_days", mode="numeric", hint="Leave empty for no expiry"),
        class_name="fields",
    )


def _of_subscriptions() -> rx.Component:
    return rx.fragment(
        rx.el.div(
            _field("Trial days", "trial_days", mode="numeric"),
            _choice(
                "When used up",
                "overage",
                (("hard", "Stop"), ("soft", "Charge overage")),
            ),
            class_name="fields",
        ),
        rx.cond(
            State.form["overage"] == "soft",
            rx.el.div(
                _field("Overage price", "unit_price", mode="decimal"),
                _field("Overage unit (executions)", "unit_executions", mode="numeric"),
                _field(
                    "Overage limit",
                    "limit_executions",
                    mode="numeric",
                    hint="Leave empty for no limit",
                ),
                class_name="fields",
            ),
        ),
    )


def _code() -> rx.Component:
    return _labelled(
        "Code",
        "code",
        "Lowercase letters, digits and hyphens; cannot be changed later",
        rx.debounce_input(
            rx.el.input(
                id="offer-code", value=State.code, on_change=State.set_code, class_name="input"
            ),
            debounce_timeout=DELAY_MS,
        ),
    )


def _field(label: str, name: str, *, mode: InputMode = "text", hint: str = "") -> rx.Component:
    return _labelled(
        label,
        name,
        hint,
        rx.debounce_input(
            rx.el.input(
                id=f"offer-{name}",
                value=State.form[name],
                on_change=lambda value: State.set_field(name, value),
                input_mode=mode,
                auto_complete="off",
                class_name="input",
                custom_attrs=_problem_of(name),
            ),
            debounce_timeout=DELAY_MS,
        ),
    )


def _choice(label: str, name: str, choices: tuple[tuple[str, str], ...]) -> rx.Component:
    return _labelled(
        label,
        name,
        "",
        rx.el.select(
            *[rx.el.option(text, value=value) for value, text in choices],
            id=f"offer-{name}",
            value=State.form[name],
            on_change=lambda value: State.set_field(name, value),
            class_name="select",
            custom_attrs=_problem_of(name),
        ),
    )


def _labelled(label: str, name: str, hint: str, control: rx.Component) -> rx.Component:
    return rx.el.div(
        rx.el.label(label, html_for=f"offer-{name}", class_name="field-label"),
        control,
        rx.el.p(hint, class_name="field-hint") if hint else rx.fragment(),
        rx.cond(
            _is_wrong(name),
            rx.el.p(State.problem, id=_problem_id(name), class_name="field-problem", role="alert"),
        ),
        class_name="field",
    )


def _is_wrong(name: str) -> rx.Var[bool]:
    """Shows a field's problem once the field was touched."""
    return (State.problem_at == name) & State.touched.contains(name)


def _problem_id(name: str) -> str:
    return f"offer-{name}-problem"


def _problem_of(name: str) -> dict[str, Any]:
    return {
        "aria-invalid": rx.cond(_is_wrong(name), "true", "false"),
        "aria-describedby": rx.cond(_is_wrong(name), _problem_id(name), ""),
    }
