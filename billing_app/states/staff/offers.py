"""The catalogue: every offer with its draft."""

from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from urllib.parse import unquote

import reflex as rx
from reflex.event import EventSpec

from billing_app import routes
from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.lists.paging import Page
from billing_app.billing.lists.sorting import By
from billing_app.billing.staff.catalogue.drafts import OfferEditedError, check_draft
from billing_app.billing.staff.catalogue.offers import (
    HolderQuery,
    HolderSort,
    OfferDetail,
    OfferNotFoundError,
    OfferQuery,
    OfferRow,
    OfferSort,
    OfferState,
    VersionRow,
    VersionSort,
    list_accounts_on,
    list_staff_offers,
    list_versions,
    read_offer,
)
from billing_app.billing.staff.catalogue.publishing import (
    archive_offer,
    create_offer,
    edit_offer,
    publish_draft,
    unarchive_offer,
)
from billing_app.billing.staff.customers.customers import CustomerRow
from billing_app.composition import get_services
from billing_app.db.enums import AccountKind, Interval
from billing_app.states.formatting import number
from billing_app.states.session import SessionState
from billing_app.states.staff import offer_views as draw
from billing_app.states.staff.customers import customer_status
from billing_app.states.staff.listing import Listing, Table
from billing_app.states.staff.page import Notice, StaffPage
from billing_app.states.staff.views import (
    ChangeLine,
    HolderLine,
    OfferLine,
    VersionLine,
)
from billing_app.states.views import OfferItem

NEW: Final = "~new"
SAVE, PUBLISH, ARCHIVE, UNARCHIVE = "save", "publish", "archive", "unarchive"
DIALOGS: Final = frozenset({SAVE, PUBLISH, ARCHIVE, UNARCHIVE})
MAX_FIELD_LENGTH: Final = 2000
OFFERS, VERSIONS, HOLDERS = "offers", "versions", "holders"
LETTERS, STATE, INTERVAL, KIND, OWES = "letters", "state", "interval", "kind", "owes"
HELD: Final = "held"


class StaffOffersState(Listing, StaffPage, SessionState):
    """The list, by name, state and interval."""

    refresh_polls = 10
    tables: ClassVar[dict[str, Table]] = {
        OFFERS: Table(
            By(OfferSort.POSITION),
            rising=frozenset({OfferSort.POSITION, OfferSort.NAME, OfferSort.STATE}),
        )
    }

    rows: rx.Field[list[OfferLine]] = rx.field(default_factory=list)

    async def _read(self, staff: StaffActor) -> None:
        async def read(**page: Any) -> Page[OfferRow]:
            where = OfferQuery(
                self._text(OFFERS, LETTERS) or "",
                self._word(OFFERS, STATE, OfferState),
                self._word(OFFERS, INTERVAL, Interval),
            )
            return await list_staff_offers(
                get_services().database, staff, where, now=datetime.now(UTC), **page
            )

        rows = await self._list(OFFERS, read)
        self._show(rows=[draw.offer_line(row) for row in rows])


class StaffOfferState(Listing, StaffPage, SessionState):
    """One offer: its draft's form, the card, versions, and the accounts on them.

    The form is the reader's own until it is saved; it started from `_base`, the draft `_revision`.
    """

    refresh_polls = 7
    tables: ClassVar[dict[str, Table]] = {
        VERSIONS: Table(By(VersionSort.VERSION, descending=True)),
        HOLDERS: Table(By(HolderSort.ACCOUNT), rising=frozenset(HolderSort)),
    }

    is_missing: rx.Field[bool] = rx.field(False)
    is_new: rx.Field[bool] = rx.field(False)
    code: rx.Field[str] = rx.field("")
    form: rx.Field[dict[str, str]] = rx.field(default_factory=dict)
    preview: rx.Field[OfferItem] = rx.field(default_factory=lambda: draw.EMPTY_PREVIEW)
    problem: rx.Field[str] = rx.field("")
    problem_at: rx.Field[str] = rx.field("")
    is_edited: rx.Field[bool] = rx.field(False)
    touched: rx.Field[list[str]] = rx.field(default_factory=list)
    state: rx.Field[str] = rx.field("")
    tone: rx.Field[str] = rx.field("")
    has_draft: rx.Field[bool] = rx.field(False)
    edited_by: rx.Field[str] = rx.field("")
    changes: rx.Field[list[ChangeLine]] = rx.field(default_factory=list)
    versions: rx.Field[list[VersionLine]] = rx.field(default_factory=list)
    holders: rx.Field[list[HolderLine]] = rx.field(default_factory=list)
    holders_of: rx.Field[str] = rx.field("")
    dialog: rx.Field[str] = rx.field("")
    _revision: int = 0
    _base: dict[str, str] = {}
    _loaded: str = ""

    @rx.event
    def set_field(self, name: str, value: str) -> None:
        """Update the form and the preview while typing."""
        if name in draw.EMPTY_FORM:
            self.form = {**self.form, name: value[:MAX_FIELD_LENGTH]}
            self._show(is_edited=True, touched=sorted({*self.touched, name}))
            self._preview()

    @rx.event
    def set_code(self, code: str) -> None:
        """Set the code of a new offer."""
        if self.is_new:
            self._show(code=code.strip().lower()[:64], is_edited=True)

    @rx.event
    def ask(self, dialog: str) -> None:
        """Open the dialog that saves, publishes or archives."""
        self._show(dialog=dialog if dialog in DIALOGS else "", notice=Notice())

    @rx.event
    def close(self) -> None:
        """Close the dialog without doing anything."""
        if self.dialog:
            self._show(dialog="", notice=Notice())

    @rx.event
    async def save(self, submitted: dict[str, Any]) -> EventSpec | None:
        """Save the form as the draft; a conflict names what others changed."""
        if self.dialog != SAVE:
            return None
        reason, code, is_new = str(submitted.get("reason", "")), self.code, self.is_new
        form, revision = dict(self.form), self._revision

        async def work(staff: StaffActor, now: datetime) -> OfferDetail | None:
            fields, database = draw.fields_of(form), get_services().database
            try:
                if is_new:
                    return await create_offer(
                        database, staff, code=code, fields=fields, reason=reason, now=now
                    )
                return await edit_offer(
                    database,
                    staff,
                    code,
                    revision=revision,
                    fields=fields,
                    reason=reason,
                    now=now,
                )
            except OfferEditedError as error:
                self._conflict(error)
                raise

        saved = await self._ask(work)
        if saved is None:
            return None
        if is_new:
            return rx.redirect(routes.staff_offer(code))
        self._take(saved)
        self._show(
            dialog="", notice=Notice("Draft saved. Customers don't see it until it is published.")
        )
        return await self._refresh()

    @rx.event
    async def publish(self, submitted: dict[str, Any]) -> EventSpec | None:
        """Publish the draft."""
        if self.dialog != PUBLISH:
            return None
        code, revision = self.code, self._revision

        async def work(staff: StaffActor, now: datetime) -> OfferDetail:
            services = get_services()
            return await publish_draft(
                services.database,
                services.provider,
                staff,
                code,
                revision=revision,
                reason=str(submitted.get("reason", "")),
                now=now,
            )

        published = await self._ask(work)
        if published is None:
            return None
        self._take(published)
        version = published.row.version
        self._show(dialog="", notice=Notice(f"Version {version} is on sale."))
        return await self._refresh()

    @rx.event
    async def archive(self, submitted: dict[str, Any]) -> EventSpec | None:
        """Archive or unarchive the offer."""
        if self.dialog not in {ARCHIVE, UNARCHIVE}:
            return None
        code, is_archiving = self.code, self.dialog == ARCHIVE

        async def work(staff: StaffActor, now: datetime) -> OfferDetail:
            change = archive_offer if is_archiving else unarchive_offer
            reason = str(submitted.get("reason", ""))
            return await change(get_services().database, staff, code, reason=reason, now=now)

        if await self._ask(work) is None:
            return None
        text = "Offer archived." if is_archiving else "Offer unarchived."
        self._show(dialog="", notice=Notice(text))
        return await self._refresh()

    @rx.event
    async def take_theirs(self) -> EventSpec | None:
        """Discard the form and continue from the newest draft."""
        self._loaded = ""
        self._show(changes=[], notice=Notice())
        return await self._refresh()

    @rx.event
    async def keep_mine(self) -> EventSpec | None:
        """Put what was changed here on top of the newest draft; all else is as others left it."""
        if not self.changes:
            return None
        code = self.code

        async def work(staff: StaffActor, now: datetime) -> OfferDetail:
            return await read_offer(get_services().database, staff, code, now)

        detail = await self._ask(work)
        if detail is not None:
            mine, base = self.form, self._base
            self._take(detail)
            merged = draw.merged(base, mine=mine, theirs=self.form)
            own = sorted(name for name in merged if merged[name] != self.form[name])
            self._show(form=merged, touched=own, is_edited=bool(own), notice=Notice())
            self._preview()
        return None

    @rx.event
    async def show_holders(self, version: str) -> EventSpec | None:
        """Show the accounts on a version; a second click hides them."""
        self._cursors = {**self._cursors, HOLDERS: ()}
        self._show(holders_of="" if self.holders_of == version else version[:9], holders=[])
        return await self._refresh()

    def _open(self) -> None:
        """The offer that the URL names, as it is now: edits that were not saved are gone."""
        code = unquote(self.router.url.path.rstrip("/").rpartition("/")[2])[:64]
        self._loaded = ""
        self._show(
            is_new=code == NEW,
            code="" if code == NEW else code,
            form=dict(draw.EMPTY_FORM) if code == NEW else {},
            preview=draw.EMPTY_PREVIEW,
            touched=[],
            changes=[],
            versions=[],
            holders=[],
            holders_of="",
            is_edited=False,
            is_ready=False,
            state="New",
            tone="",
            edited_by="",
            has_draft=False,
            dialog="",
        )
        self._preview()

    async def _read(self, staff: StaffActor) -> None:
        if self.is_new:
            self._show(is_missing=False)
            return
        database, now = get_services().database, datetime.now(UTC)
        try:
            detail = await read_offer(database, staff, self.code, now)
        except OfferNotFoundError:
            self._show(is_missing=True)
            return
        self._show(is_missing=False)
        if self._loaded != self.code:
            self._take(detail)
        self._show_detail(detail)
        versions = await self._list(VERSIONS, self._versions(staff))
        self._show(versions=[draw.version_line(row) for row in versions])
        if self.holders_of.isdecimal():
            holders = await self._list(HOLDERS, self._holders(staff, int(self.holders_of)))
            self._show(
                holders=[
                    HolderLine(
                        row.account_id,
                        row.name or row.organization_id,
                        row.email,
                        number(row.executions_remaining),
                        *customer_status(row),
                    )
                    for row in holders
                ]
            )

    def _versions(self, staff: StaffActor) -> Any:
        """Reads a page of the versions."""

        async def read(**page: Any) -> Page[VersionRow]:
            return await list_versions(
                get_services().database,
                staff,
                self.code,
                now=datetime.now(UTC),
                held=self._yes(VERSIONS, HELD),
                **page,
            )

        return read

    def _holders(self, staff: StaffActor, version: int) -> Any:
        """Reads a page of the accounts on a version."""

        async def read(**page: Any) -> Page[CustomerRow]:
            where = HolderQuery(self._word(HOLDERS, KIND, AccountKind), self._yes(HOLDERS, OWES))
            return await list_accounts_on(
                get_services().database,
                staff,
                self.code,
                version,
                where,
                now=datetime.now(UTC),
                **page,
            )

        return read

    def _take(self, detail: OfferDetail) -> None:
        """Start the form from the newest draft."""
        draft = detail.row.draft
        self._loaded, self._revision = detail.row.code, draft.revision
        self._base = draw.form_of(draft.fields)
        self._show(form=dict(self._base), is_edited=False, touched=[], changes=[])
        self._preview()

    def _show_detail(self, detail: OfferDetail) -> None:
        state, tone = draw.STATES[detail.row.state]
        draft = detail.row.draft
        self._show(
            state=state,
            tone=tone,
            has_draft=detail.row.has_edits or detail.row.version is None,
            edited_by=draft.edited_by_name,
        )

    def _conflict(self, error: OfferEditedError) -> None:
        """Nothing stands against an edit that changed nothing: the form goes on from there."""
        changes = draw.change_lines(error.extensions.get("changes"))
        revision = error.extensions.get("revision")
        if not changes and isinstance(revision, int):
            self._revision = revision
        self._show(dialog="", changes=changes)

    def _preview(self) -> None:
        try:
            fields = check_draft(draw.fields_of(self.form))
        except InvalidInputError as error:
            name = str(error.extensions.get("field", ""))
            self._show(problem=error.detail, problem_at=draw.FORM_NAMES.get(name, name))
        else:
            self._show(problem="", problem_at="", preview=draw.preview(fields))
