"""What the details page shows: the person, and what the account's invoices say."""

from datetime import UTC, datetime

import reflex as rx

from billing_app.billing.accounts.billing_details import DetailsView, read_details
from billing_app.billing.actors import PersonActor, UserActor
from billing_app.billing.identity.email_changes import Person, read_person
from billing_app.billing.identity.email_links import PendingEmail
from billing_app.composition import get_services
from billing_app.states import formatting
from billing_app.states.change_polling import LivePage
from billing_app.states.session import SessionState
from billing_app.states.views import AccountChoice, BillingItem, PersonItem


class DetailsState(LivePage, SessionState):
    """Shown to whoever may see the account; the person only to themselves."""

    person: rx.Field[PersonItem] = rx.field(default_factory=PersonItem)
    billing: rx.Field[BillingItem] = rx.field(default_factory=BillingItem)

    async def _read(self, actor: PersonActor, account: AccountChoice) -> None:
        database, now = get_services().database, datetime.now(UTC)
        is_own = isinstance(actor, UserActor)
        person = await read_person(database, actor, now) if is_own else None
        details = await read_details(database, actor, account.account_id, now)
        self._show(
            person=_person_item(person) if person else PersonItem(),
            billing=_billing_item(details, is_organization=account.kind == "Organization"),
        )


def _person_item(person: Person) -> PersonItem:
    return PersonItem(
        is_shown=True,
        name=person.name or "No name",
        typed_name=person.name,
        email=person.email,
        pending=_pending(person.pending),
    )


def _billing_item(details: DetailsView, *, is_organization: bool) -> BillingItem:
    whose = "the organization's name" if is_organization else "your name"
    from_whom = "the owner's address" if is_organization else "your address"
    return BillingItem(
        name=details.used.name,
        name_note="" if details.own_name else f"Same as {whose}",
        typed_name=details.own_name,
        usual_name=details.usual.name,
        email=details.used.email or "No email address",
        email_note="" if details.own_email else f"Same as {from_whom}" * bool(details.used.email),
        typed_email=details.own_email or "",
        usual_email=details.usual.email or "no address",
        pending=_pending(details.pending),
        purchase_order=details.used.purchase_order or "None",
        typed_purchase_order=details.used.purchase_order or "",
    )


def _pending(pending: PendingEmail | None) -> str:
    if pending is None:
        return ""
    until = formatting.time_of_day(pending.expires_at)
    return f"Waiting for confirmation of {pending.email}. The link works until {until} UTC."
