"""Stats, meters, badges and detail lists."""

import reflex as rx

Text = rx.Var[str] | str
Tone = rx.Var[str] | str


def stat(label: Text, value: Text, hint: Text, *, href: str = "", tone: Tone = "") -> rx.Component:
    """A number with its label above and a hint below; with `href`, it leads there. `tone` is "" or
    "bad"."""
    parts = (
        rx.el.div(label, class_name="stat-label"),
        rx.el.div(value, class_name=f"stat-value {tone}"),
        rx.el.div(hint, class_name="stat-hint"),
    )
    return (
        rx.link(*parts, href=href, class_name="stat")
        if href
        else rx.el.div(*parts, class_name="stat")
    )


def stats(*items: rx.Component, in_row: bool = False) -> rx.Component:
    """Stats in one card: two by two, or in a row of four."""
    return rx.el.div(
        rx.el.div(*items, class_name="stats row" if in_row else "stats"),
        class_name="stats-clip",
    )


def meter(
    *,
    percent: rx.Var[float],
    tone: Tone,
    label: Text,
    value: Text,
    held_percent: rx.Var[float] | None = None,
    thin: bool = False,
    segments: rx.Component | None = None,
) -> rx.Component:
    """A bar that shows the same share as the text beside it, which is also its accessible `value`.

    `segments` share the filled part. Reserved executions are lighter. `tone` is "", "warning" (80%
    taken), "spent" (nothing left) or "quiet".
    """
    size = "thin" if thin else ""
    return rx.el.div(
        rx.el.div(
            segments or rx.fragment(), class_name="meter-fill", style={"width": f"{percent}%"}
        ),
        rx.fragment() if held_percent is None else _held(held_percent),
        class_name=f"meter {size} {tone}",
        role="progressbar",
        custom_attrs={
            "aria-label": label,
            "aria-valuemin": "0",
            "aria-valuemax": "100",
            "aria-valuenow": percent,
            "aria-valuetext": value,
        },
    )


def _held(percent: rx.Var[float]) -> rx.Component:
    """Left out at 0: its gap would leave a full bar short."""
    return rx.cond(
        percent.to(float) > 0, rx.el.div(class_name="meter-held", style={"width": f"{percent}%"})
    )


def badge(text: Text, tone: Tone = "") -> rx.Component:
    """A status label; `tone` is "", "accent", "good", "warning" or "bad"."""
    return rx.el.span(text, class_name=f"badge {tone}")


def detail_list(*pairs: tuple[Text, Text]) -> rx.Component:
    """Names and values, two per row."""
    return rx.el.dl(
        *[rx.el.div(rx.el.dt(name), rx.el.dd(value)) for name, value in pairs],
        class_name="details",
    )
