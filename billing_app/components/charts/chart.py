"""Charts and legends on a page."""

from typing import Any

import plotly.graph_objects as go
import reflex as rx
from plotly.graph_objs.layout import Template
from reflex.vars import ArrayVar

from billing_app.components.charts.template import DARK_TEMPLATE, LIGHT_TEMPLATE
from billing_app.components.numbers import Text


def chart(figure: rx.Var[go.Figure], *, label: Text, height_px: int) -> rx.Component:
    """A figure in the reader's colour mode; `label` is its accessible name."""
    colours = rx.color_mode_cond(
        light=rx.Var.create(LIGHT_TEMPLATE), dark=rx.Var.create(DARK_TEMPLATE)
    )
    return rx.el.div(
        rx.plotly.basic(
            data=figure,
            template=colours.to(Template),
            config={"displayModeBar": False, "responsive": True},
            class_name="chart-plot",
            style={"height": f"{height_px}px", "width": "100%"},
        ),
        class_name="chart",
        role="img",
        style={"minHeight": f"{height_px}px"},
        custom_attrs={"aria-label": label},
    )


def legend(keys: ArrayVar[Any]) -> rx.Component:
    """The series of a chart, with name, total and colour."""
    return rx.el.ul(
        rx.foreach(
            keys,
            lambda key: rx.el.li(
                rx.el.span(class_name=f"swatch s{key.slot}"),
                rx.el.span(key.name, class_name="legend-name", title=key.name),
                rx.el.strong(key.total),
            ),
        ),
        class_name="legend",
    )
