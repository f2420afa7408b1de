"""One offer: the draft beside its card, its versions, and the accounts on them."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.catalogue.offers import HolderSort, VersionSort
from billing_app.components.cards import card
from billing_app.components.feedback import empty, notice
from billing_app.components.listing import Column, Paging, filter_select, listing
from billing_app.components.numbers import badge
from billing_app.components.tables import ACTIONS, cell, table
from billing_app.db.enums import AccountKind
from billing_app.pages.offers import offer_card, pack_row
from billing_app.pages.staff.action_dialog import action_dialog
from billing_app.pages.staff.frame import console, unknown
from billing_app.pages.staff.offer_editor import editor
from billing_app.states.staff import offers as names
from billing_app.states.staff.listing import ALL, NO, YES
from billing_app.states.staff.offers import ARCHIVE, PUBLISH, SAVE, UNARCHIVE
from billing_app.states.staff.offers import StaffOfferState as State
from billing_app.states.staff.views import ChangeLine, HolderLine, VersionLine

VERSIONS, HOLDERS = Paging(State, names.VERSIONS), Paging(State, names.HOLDERS)
KINDS = (
    (ALL, "All kinds"),
    (AccountKind.ORGANIZATION.value, "Organizations"),
    (AccountKind.USER.value, "Personal accounts"),
)


def staff_offer() -> rx.Component:
    """All staff may read; admins edit, publish and archive."""
    return console(
        rx.cond(
            State.is_missing,
            unknown("Offer not found", "Back to offers", routes.STAFF_OFFERS),
            rx.fragment(
                _head(),
                rx.cond(State.changes.length() > 0, _conflict()),
                rx.el.div(editor(), _beside(), class_name="columns top"),
                rx.cond(State.is_new, rx.fragment(), _versions()),
                rx.cond(State.holders_of != "", _holders()),
                _dialogs(),
            ),
        ),
        path=routes.STAFF_OFFERS,
        state=State,
    )


def _head() -> rx.Component:
    return rx.el.header(
        rx.el.div(
            rx.el.div(
                rx.el.h1(
                    rx.cond(State.is_new, "New offer", State.form["name"]), class_name="page-title"
                ),
                badge(State.state, State.tone),
                rx.cond(State.has_draft & ~State.is_new, badge("Not published", "warning")),
                class_name="title-row",
            ),
            rx.el.p(
                rx.cond(State.is_new, "Starts as a draft, not yet on sale", State.code),
                rx.cond(State.edited_by != "", f" · last edited by {State.edited_by}", ""),
                class_name="page-note",
            ),
        ),
        rx.el.div(
            _button(
                "Save draft", SAVE, Action.EDIT_OFFER, ~State.is_edited | (State.problem != "")
            ),
            rx.cond(
                State.is_new,
                rx.fragment(),
                rx.fragment(
                    rx.cond(
                        State.state == "Archived",
                        _button("Unarchive", UNARCHIVE, Action.UNARCHIVE_OFFER, False),
                        _button("Archive", ARCHIVE, Action.ARCHIVE_OFFER, False),
                    ),
                    _button(
                        "Publish",
                        PUBLISH,
                        Action.PUBLISH_OFFER,
                        ~State.has_draft | State.is_edited | (State.state == "Archived"),
                        look="button strong",
                    ),
                ),
            ),
            class_name="page-actions",
        ),
        class_name="page-head",
    )


def _button(
    text: str, name: str, action: Action, disabled: rx.Var[bool] | bool, look: str = "button"
) -> rx.Component:
    return rx.cond(
        State.allowed.contains(action.value),
        rx.el.button(
            text, type="button", class_name=look, disabled=disabled, on_click=State.ask(name)
        ),
    )


def _conflict() -> rx.Component:
    """The other person's changes, beside what was to be saved."""
    return card(
        table(
            "Changes",
            ("Field", "Before", "Theirs", "Yours", "By"),
            rows=State.changes,
            row=_change,
            when_empty=rx.fragment(),
            dense=True,
        ),
        rx.el.div(
            rx.el.button(
                "Take theirs", type="button", class_name="button", on_click=State.take_theirs
            ),
            rx.el.button(
                "Keep mine", type="button", class_name="button strong", on_click=State.keep_mine
            ),
            class_name="dialog-foot card-foot",
        ),
        title="Someone else edited this draft in the meantime",
        note="Your changes were not saved. Take theirs, or keep the fields that you changed on top"
        " of theirs and save again.",
        flush=True,
    )


def _change(row: ObjectVar[ChangeLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.field, "strong"),
        cell(row.before, "soft"),
        cell(row.theirs),
        cell(row.yours),
        cell(row.by, "soft"),
        key=row.field,
    )


def _beside() -> rx.Component:
    is_general = (State.problem != "") & ~State.touched.contains(State.problem_at)
    return card(
        rx.cond(
            State.is_edited & is_general,
            notice(tone="warning", title="Not ready to publish", text=State.problem),
        ),
        rx.cond(State.preview.price != "", _preview(), _no_preview()),
        rx.cond(
            State.form["visible"] == "no",
            rx.el.p(
                "Hidden from customers; anyone with the code can still buy it.",
                class_name="field-hint",
            ),
        ),
        title="As customers see it",
        note="Updates as you type",
    )


def _preview() -> rx.Component:
    """As in the customers' list; dimmed while the form is invalid."""
    seen = State.preview
    button = rx.el.button(seen.action, type="button", disabled=True, class_name="button wide")
    dimmed = rx.cond(State.problem != "", "preview stale", "preview")
    return rx.el.div(
        rx.cond(
            seen.interval == "once",
            rx.el.ul(pack_row(seen, button), class_name="packs"),
            rx.el.ul(offer_card(seen, button), class_name="offers"),
        ),
        id="preview",
        class_name=dimmed,
    )


def _no_preview() -> rx.Component:
    return empty(
        icon="tag",
        title="No preview yet",
        text="The offer appears here once it has a name and a price.",
    )


def _versions() -> rx.Component:
    return listing(
        "Versions",
        (
            Column("Version", VersionSort.VERSION),
            Column("Name", is_wide_only=True),
            Column("Price", VersionSort.PRICE),
            Column("Executions", VersionSort.EXECUTIONS, is_right=True, is_wide_only=True),
            Column("Published (UTC)", VersionSort.PUBLISHED, is_wide_only=True),
            Column("Accounts", VersionSort.ACCOUNTS, is_right=True),
            Column(ACTIONS, is_right=True),
        ),
        rows=State.versions,
        row=_version,
        paging=VERSIONS,
        tools=(
            filter_select(
                VERSIONS,
                names.HELD,
                "Accounts",
                ((ALL, "All versions"), (YES, "With accounts"), (NO, "Without accounts")),
            ),
        ),
        when_empty=empty(
            icon="tag", title="No versions yet", text="Publish the draft to create version 1."
        ),
        title="Versions",
        note="Published versions never change",
    )


def _version(row: ObjectVar[VersionLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.version, "strong"),
        cell(row.name, "wide-only"),
        cell(
            rx.fragment(
                row.price,
                rx.el.span(f"{row.executions} executions", class_name="row-note narrow-only"),
            )
        ),
        cell(row.executions, "right wide-only"),
        cell(row.published, "soft wide-only"),
        cell(row.accounts, "right strong"),
        cell(
            rx.el.button(
                rx.cond(State.holders_of == row.version, "Hide", "Show"),
                rx.el.span(" accounts", class_name="wide-only"),
                type="button",
                class_name="button small",
                on_click=State.show_holders(row.version),
                custom_attrs={"aria-label": f"Accounts on version {row.version}"},
            ),
            "right",
        ),
        key=row.version,
    )


def _holders() -> rx.Component:
    return listing(
        "Accounts on this version",
        (
            Column("Customer"),
            Column("Account", HolderSort.ACCOUNT, is_wide_only=True),
            Column("Remaining", is_right=True),
            Column("Status"),
        ),
        rows=State.holders,
        row=_holder,
        paging=HOLDERS,
        tools=(
            filter_select(HOLDERS, names.KIND, "Kind", KINDS),
            filter_select(
                HOLDERS,
                names.OWES,
                "Payment",
                ((ALL, "Any status"), (YES, "Past due"), (NO, "Not past due")),
            ),
        ),
        when_empty=empty(icon="users", title="No accounts", text="No account is on this version."),
        title=f"Accounts on version {State.holders_of}",
    )


def _holder(row: ObjectVar[HolderLine]) -> rx.Component:
    return rx.el.tr(
        cell(
            rx.link(
                rx.el.span(row.name, class_name="row-link"),
                rx.cond(row.email != "", rx.el.span(row.email, class_name="row-note")),
                href=f"{routes.STAFF_CUSTOMERS}/{row.account_id}",
                underline="none",
                class_name="row-title",
            ),
            "strong clip-wide",
        ),
        cell(rx.el.code(row.account_id, class_name="code"), "soft wide-only"),
        cell(row.left, "right"),
        cell(badge(row.status, row.tone)),
        key=row.account_id,
    )


def _dialogs() -> rx.Component:
    seen = State.preview
    beyond = rx.cond(seen.beyond != "", f". {seen.beyond}", "")
    sold = f"{seen.name}: {seen.executions} for {seen.price} {seen.interval}{beyond}"
    return rx.fragment(
        action_dialog(
            State,
            SAVE,
            title="Save draft",
            text=f"{sold}. Customers don't see it until it is published.",
            on_submit=State.save,
        ),
        action_dialog(
            State,
            PUBLISH,
            title="Publish draft",
            text=f"Creates the product and price at Stripe, then sells {sold}. Existing"
            " customers keep their version.",
            on_submit=State.publish,
        ),
        action_dialog(
            State,
            ARCHIVE,
            title="Archive offer",
            text="It goes off sale. Existing customers keep it.",
            on_submit=State.archive,
            is_danger=True,
        ),
        action_dialog(
            State,
            UNARCHIVE,
            title="Unarchive offer",
            text="It goes back on sale.",
            on_submit=State.archive,
        ),
    )
