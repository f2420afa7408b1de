"""Numbers that are read at a glance: stats, meters, badges, facts."""

import reflex as rx

Words = rx.Var[str] | str
Tone = rx.Var[str] | str


def stat(label: Words, value: Words, hint: Words) -> rx.Component:
    """A number with its name above and a word of context below."""
    return rx.el.div(
        rx.el.div(label, class_name="stat-label"),
        rx.el.div(value, class_name="stat-value"),
        rx.el.div(hint, class_name="stat-hint"),
        class_name="stat",
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
    label: Words,
    value: Words,
    held_percent: rx.Var[float] | None = None,
    thin: bool = False,
) -> rx.Component:
    """A bar as full as the words beside it say: what is left where they tell what is left.

    `value` are these words, for who hears the page. What is on hold is lighter, beside the rest;
    `tone` is "", "warning" (80% taken), "spent" (nothing left) or "quiet".
    """
    size = "thin" if thin else ""
    return rx.el.div(
        rx.el.div(class_name="meter-fill", style={"width": f"{percent}%"}),
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
    """Not there for nothing: the gap before it would leave a full bar short."""
    return rx.cond(
        percent.to(float) > 0, rx.el.div(class_name="meter-held", style={"width": f"{percent}%"})
    )


def badge(words: Words, tone: Tone = "") -> rx.Component:
    """A word of state; `tone` is "", "accent", "good", "warning" or "bad"."""
    return rx.el.span(words, class_name=f"badge {tone}")


def detail_list(*pairs: tuple[Words, Words]) -> rx.Component:
    """Names with their values, two to a row."""
    return rx.el.dl(
        *[rx.el.div(rx.el.dt(name), rx.el.dd(value)) for name, value in pairs],
        class_name="details",
    )
