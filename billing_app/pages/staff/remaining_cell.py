"""Executions left of an account in a list: a bar and the same number."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.components.numbers import meter
from billing_app.components.tables import cell
from billing_app.states.staff.views import CustomerLine


def remaining_cell(row: ObjectVar[CustomerLine]) -> rx.Component:
    return cell(
        rx.cond(
            row.remaining != "",
            rx.el.div(
                meter(
                    percent=row.left_percent,
                    tone=row.meter_tone,
                    label=f"Executions remaining: {row.name}",
                    value=row.remaining_text,
                    thin=True,
                ),
                rx.el.span(row.remaining, class_name="remaining-number"),
                class_name="remaining-figure",
            ),
            "—",
        ),
        "right",
    )
