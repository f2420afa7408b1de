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
    used_percent: rx.Var[float] | float,
    held_percent: rx.Var[float] | float,
    tone: Tone,
    label: Words,
    thin: bool = False,
) -> rx.Component:
    """How much of a limit is used and held; `tone` is "", "warning" (80 %) or "spent" (100 %)."""
    size = "thin" if thin else ""
    return rx.el.div(
        rx.el.div(class_name="meter-used", style={"width": f"{used_percent}%"}),
        rx.el.div(class_name="meter-held", style={"width": f"{held_percent}%"}),
        class_name=f"meter {size} {tone}",
        role="progressbar",
        custom_attrs={
            "aria-label": label,
            "aria-valuemin": "0",
            "aria-valuemax": "100",
            "aria-valuenow": used_percent,
        },
    )


def badge(words: Words, tone: Tone = "") -> rx.Component:
    """A word of state; `tone` is "", "accent", "good", "warning" or "bad"."""
    return rx.el.span(words, class_name=f"badge {tone}")


def facts(*pairs: tuple[str, Words]) -> rx.Component:
    """Names with their values, two to a row."""
    return rx.el.dl(
        *[rx.el.div(rx.el.dt(name), rx.el.dd(value)) for name, value in pairs],
        class_name="facts",
    )
