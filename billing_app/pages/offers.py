"""The offers: plans by interval, and packs of extra executions."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.components.cards import card
from billing_app.components.controls import press_button, segments
from billing_app.components.numbers import badge
from billing_app.db.enums import Interval
from billing_app.states.billing_overview import BillingOverviewState as State
from billing_app.states.offer_dialog import OfferDialogState
from billing_app.states.views import OfferItem

INTERVALS = ((Interval.MONTH.value, "Monthly"), (Interval.YEAR.value, "Yearly"))


def offers() -> rx.Component:
    """The catalogue, with one button per offer."""
    return rx.el.div(
        card(
            rx.el.ul(rx.foreach(State.offers, _offer), class_name="offers"),
            rx.cond(State.packs.length() > 0, _packs()),
            _who_can_manage(),
            title=rx.cond(State.terms.name != "", "Change plan", "Choose a plan"),
            note=rx.cond(
                State.is_taxed,
                "Billed in advance through Stripe, plus tax. Cancel at any time.",
                "Billed in advance through Stripe. Cancel at any time.",
            ),
            actions=[
                rx.cond(
                    State.has_intervals,
                    segments(
                        "Billing interval",
                        INTERVALS,
                        chosen=State.interval,
                        on_choose=State.choose_interval,
                    ),
                )
            ],
            flush=True,
        ),
        id="plans",
    )


def _offer(offer: ObjectVar[OfferItem]) -> rx.Component:
    return offer_card(offer, _button(offer, "wide"))


def offer_card(offer: ObjectVar[OfferItem], foot: rx.Component) -> rx.Component:
    """A plan in the list of offers, with its button."""
    return rx.el.li(
        rx.el.div(
            rx.el.h3(offer.name, class_name="offer-name"),
            rx.cond(offer.badge != "", badge(offer.badge, "accent")),
            class_name="offer-head",
        ),
        rx.el.p(
            rx.el.span(offer.price, class_name="offer-price"),
            rx.el.span(offer.interval, class_name="offer-interval"),
        ),
        rx.el.p(offer.executions, class_name="offer-executions"),
        rx.el.p(f"{offer.description} · {offer.unit_price}", class_name="offer-note"),
        rx.el.p(offer.beyond, class_name="offer-note"),
        rx.el.div(foot, class_name="offer-foot"),
        key=rx.cond(offer.is_current, f"{offer.code} held", offer.code),
        class_name=rx.cond(offer.is_current, "offer current", "offer"),
    )


def _packs() -> rx.Component:
    return rx.el.div(
        rx.el.h3("Extra executions", class_name="packs-title"),
        rx.el.ul(rx.foreach(State.packs, _pack), class_name="packs"),
    )


def _pack(pack: ObjectVar[OfferItem]) -> rx.Component:
    return pack_row(pack, _button(pack, ""))


def pack_row(pack: ObjectVar[OfferItem], foot: rx.Component) -> rx.Component:
    """A pack in the list of packs, with its button."""
    return rx.el.li(
        rx.el.div(
            rx.el.p(pack.name, class_name="offer-name"),
            rx.el.p(pack.description, class_name="offer-note"),
        ),
        rx.el.span(pack.executions, class_name="pack-executions"),
        rx.el.span(pack.price, class_name="pack-price"),
        foot,
        key=pack.code,
        class_name="pack",
    )


def _button(offer: ObjectVar[OfferItem], look: str) -> rx.Component:
    return rx.cond(
        (offer.action != "") & State.account.may_manage & State.can_pay,
        press_button(
            offer.action,
            name=offer.code,
            pending=OfferDialogState.pending,
            on_press=OfferDialogState.choose(offer.code),
            look=look,
            label=rx.cond(
                offer.action.contains(offer.name), offer.action, f"{offer.action}: {offer.name}"
            ),
        ),
    )


def _who_can_manage() -> rx.Component:
    """Tells viewers without buttons who can manage the plan."""
    return rx.cond(
        State.account.may_manage,
        rx.cond(~State.can_pay, rx.el.p("Payments are not set up yet.", class_name="card-foot")),
        rx.el.p(
            rx.cond(State.managers != "", State.managers, "An owner"),
            f" can change the plan and pay for {State.account.name}.",
            class_name="card-foot",
        ),
    )
