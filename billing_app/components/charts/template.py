"""The Plotly templates for light and dark."""

from dataclasses import dataclass
from typing import Final

import plotly.graph_objects as go

FONT: Final = 'Inter, -apple-system, BlinkMacSystemFont, "Segoe UI", sans-serif'
LIMIT_COLOUR: Final = "#8b8d98"
TEXT_PX: Final = 12
BOTTOM_PX: Final = 32


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a figure; `series` are the CSS variables --series-0..6 in the same order."""

    series: tuple[str, ...]
    ink: str
    grid: str
    surface: str
    line: str


LIGHT: Final = Palette(
    series=("#5b5bd6", "#9ba6f2", "#37b0a0", "#f2bb55", "#e184ad", "#8a8f9c", "#d0d3da"),
    ink="#60646c",
    grid="rgba(0, 9, 50, 0.07)",
    surface="#ffffff",
    line="rgba(0, 9, 50, 0.14)",
)
DARK: Final = Palette(
    series=("#7d7bf2", "#5560ad", "#2f9d8f", "#d3a044", "#bd6890", "#838894", "#4b4e57"),
    ink="#b0b4ba",
    grid="rgba(221, 234, 248, 0.08)",
    surface="#212225",
    line="rgba(221, 234, 248, 0.16)",
)


def template(palette: Palette) -> go.layout.Template:
    """The template of one colour mode; figures carry no colours of their own."""
    axis = {
        "showline": False,
        "zeroline": False,
        "ticks": "",
        "gridcolor": palette.grid,
        "tickfont": {"color": palette.ink, "size": TEXT_PX},
        "automargin": False,
        "fixedrange": True,
        "showspikes": False,
    }
    layout = go.Layout(
        colorway=list(palette.series),
        font={"family": FONT, "size": TEXT_PX, "color": palette.ink},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={
            "bgcolor": palette.surface,
            "bordercolor": palette.line,
            "font": {"family": FONT, "size": TEXT_PX, "color": palette.ink},
            "namelength": 28,
        },
        xaxis={**axis, "showgrid": False, "ticklabelstandoff": 8},
        yaxis={**axis, "rangemode": "tozero", "nticks": 5, "ticklabelstandoff": 8},
    )
    return go.layout.Template(layout=layout)


LIGHT_TEMPLATE: Final = template(LIGHT)
DARK_TEMPLATE: Final = template(DARK)


def base_layout(*, left_px: int = 40) -> go.Layout:
    """The part of every layout that a template can't hold."""
    return go.Layout(
        template=None,
        autosize=True,
        margin={"l": left_px, "r": 8, "t": 12, "b": BOTTOM_PX},
        showlegend=False,
        hovermode="x unified",
        dragmode=False,
        bargap=0.28,
        barcornerradius=3,
        separators=".,",
    )
