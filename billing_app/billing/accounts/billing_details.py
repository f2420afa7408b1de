"""The name and e-mail address of an account at the payment provider, and on its invoices.

Without ones of their own they are the organization's name, or the person's; and the person's
address, or that of the oldest owner who has one. A new address is used once it is confirmed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.names import MAX_LENGTH, checked_name
from billing_app.billing.accounts.service import authorize_managing, authorize_reading
from billing_app.billing.actors import Actor, UserActor
from billing_app.billing.errors import BillingError, ForbiddenError, InvalidInputError
from billing_app.billing.identity import email_links
from billing_app.billing.identity.email_links import (
    EmailLinkExpiredError,
    MailNotSetUpError,
    PendingEmail,
    of_account,
    pending_email,
    request_link,
)
from billing_app.billing.identity.sessions import clean_email
from billing_app.billing.mail import MailQueue
from billing_app.billing.staff.audit.audit_writing import CustomerAction, CustomerChange, record_own
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, Role
from billing_app.db.tables import (
    Account,
    BillingDetails,
    EmailChange,
    Membership,
    Organization,
    User,
)

MAX_PURCHASE_ORDER_LENGTH: Final = 140


class DetailsQueue(Protocol):
    """Has the provider's customer brought up to date soon after the commit of `session`."""

    async def customer_details(self, session: AsyncSession, account_id: int) -> None:
        """The change stands even when this fails: reconciliation finds the difference."""
        ...


@dataclass(frozen=True, slots=True)
class CustomerDetails:
    """`email` None: nobody of the account has an address. `purchase_order`: printed on invoices;
    None: what the provider's customer has is left alone."""

    name: str
    email: str | None
    purchase_order: str | None = None


@dataclass(frozen=True, slots=True)
class DetailsView:
    """`used` are the details in use, `usual` those without ones of the account's own, `own_name`
    ("" without) and `own_email` the account's own."""

    used: CustomerDetails
    usual: CustomerDetails
    own_name: str
    own_email: str | None
    pending: PendingEmail | None


async def read_details(
    database: Database, actor: Actor, account_id: str, now: datetime
) -> DetailsView:
    """For whoever may see the account. Raises AccountNotFoundError, ScopeMissingError."""
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        usual = await _usual_details(session, account)
        own = await session.get(BillingDetails, account.id) or BillingDetails(account_id=account.id)
        pending = await pending_email(session, of_account(account.id), now)
    return DetailsView(_merged(own, usual), usual, own.name, own.email, pending)


async def change_billing_name(
    database: Database,
    details_queue: DetailsQueue | None,
    actor: Actor,
    account_id: str,
    *,
    name: str,
    now: datetime,
) -> None:
    """Set the name on invoices; blank: the account's usual one.

    Raises InvalidInputError, and as `authorize_managing`.
    """
    name = checked_name(name) if name.strip() else ""
    async with database.transaction() as session:
        account, person = await _authorize(session, actor, account_id)
        own = await lock_own(session, account.id)
        if own.name == name:
            return
        before, own.name = own.name, name
        session.add(own)
        change = CustomerChange(CustomerAction.CHANGE_BILLING_NAME, "billing_name", before, name)
        await _finish(session, details_queue, person, account.id, change, now)


async def change_purchase_order(
    database: Database,
    details_queue: DetailsQueue | None,
    actor: Actor,
    account_id: str,
    *,
    purchase_order: str,
    now: datetime,
) -> None:
    """Set the purchase-order number on new invoices; blank: none.

    Raises InvalidInputError, and as `authorize_managing`.
    """
    number = _checked_purchase_order(purchase_order)
    async with database.transaction() as session:
        account, person = await _authorize(session, actor, account_id)
        own = await lock_own(session, account.id)
        before = own.purchase_order or ""
        if before == number:
            return
        own.purchase_order = number
        session.add(own)
        change = CustomerChange(
            CustomerAction.CHANGE_PURCHASE_ORDER, "purchase_order", before, number
        )
        await _finish(session, details_queue, person, account.id, change, now)


async def request_billing_email(
    database: Database,
    mail_queue: MailQueue | None,
    actor: Actor,
    account_id: str,
    *,
    email: str,
    now: datetime,
) -> None:
    """Queue a link to the new billing email.

    Raises InvalidInputError, MailNotSetUpError, and as `authorize_managing`.
    """
    address = clean_email(email)
    async with database.transaction() as session:
        account, person = await _authorize(session, actor, account_id)
        if mail_queue is None:
            raise MailNotSetUpError
        own = await session.get(BillingDetails, account.id)
        if own is not None and own.email == address:
            raise InvalidInputError("This is the billing email already.", field="email")
        await request_link(
            session,
            mail_queue,
            now,
            account_id=account.id,
            email=address,
            requested_by=person.user_id,
        )


async def remove_billing_email(
    database: Database,
    details_queue: DetailsQueue | None,
    actor: Actor,
    account_id: str,
    *,
    now: datetime,
) -> None:
    """Use the account's usual address, and void a link. Raises as `authorize_managing`."""
    async with database.transaction() as session:
        account, person = await _authorize(session, actor, account_id)
        await session.exec(delete(EmailChange).where(of_account(account.id)))
        await _set_email(session, details_queue, person, account.id, None, now)


async def send_billing_link_again(
    database: Database, mail_queue: MailQueue | None, actor: Actor, account_id: str, now: datetime
) -> None:
    """Raises EmailLinkExpiredError when no address waits, MailNotSetUpError, and as
    `authorize_managing`."""
    async with database.transaction() as session:
        account, _ = await _authorize(session, actor, account_id)
        if mail_queue is None:
            raise MailNotSetUpError
        await email_links.send_again(session, mail_queue, of_account(account.id), now)


async def withdraw_billing_email(database: Database, actor: Actor, account_id: str) -> None:
    """Void the link, if there is one. Raises as `authorize_managing`."""
    async with database.transaction() as session:
        account, _ = await _authorize(session, actor, account_id)
        await session.exec(delete(EmailChange).where(of_account(account.id)))


async def confirm_email(
    session: AsyncSession,
    details_queue: DetailsQueue | None,
    change: EmailChange,
    now: datetime,
) -> None:
    """Set the billing email of a link that was opened, if the person who asked for it may still do
    so; else raises EmailLinkExpiredError."""
    assert change.account_id is not None
    user = await session.get_one(User, change.requested_by)
    person = UserActor(user.id, user.name, user.email or "")
    try:
        await authorize_managing(session, person, ids.encode_account(change.account_id))
    except BillingError:
        raise EmailLinkExpiredError from None
    await _set_email(session, details_queue, person, change.account_id, change.email, now)


async def keep_business_name(session: AsyncSession, account_id: int, name: str) -> None:
    """The name that the provider's customer got beside a tax id is the billing name from now on,
    unless the account has set one of its own."""
    own = await lock_own(session, account_id)
    if not own.name:
        own.name = name[:MAX_LENGTH]
        session.add(own)


async def details_of(session: AsyncSession, account: Account) -> CustomerDetails:
    """What the provider's customer should have."""
    own = await session.get(BillingDetails, account.id)
    usual = await _usual_details(session, account)
    return _merged(own, usual) if own is not None else usual


async def queue_all_of(
    session: AsyncSession, details_queue: DetailsQueue | None, user_id: str
) -> None:
    """Bring up to date all customers whose details may come from this person."""
    if details_queue is None:
        return
    owned = select(Membership.organization_id).where(
        Membership.user_id == user_id, Membership.role == Role.OWNER
    )
    is_owned = col(Account.organization_id).in_(owned)
    is_organization = col(Account.kind) == AccountKind.ORGANIZATION
    query = select(Account.id).where(
        or_(col(Account.user_id) == user_id, is_owned & is_organization)
    )
    for account_id in (await session.exec(query.order_by(col(Account.id)))).all():
        await details_queue.customer_details(session, account_id)


def _merged(own: BillingDetails, usual: CustomerDetails) -> CustomerDetails:
    name, email = own.name or usual.name, own.email or usual.email
    return CustomerDetails(name, email, own.purchase_order)


def _checked_purchase_order(text: str) -> str:
    """Raises InvalidInputError. The length is that of a custom field on an invoice
    (docs.stripe.com/api/customers/update)."""
    number = checked_name(text) if text.strip() else ""
    if len(number) > MAX_PURCHASE_ORDER_LENGTH:
        most = MAX_PURCHASE_ORDER_LENGTH
        raise InvalidInputError(f"It can have at most {most} characters.", field="purchase_order")
    return number


async def _usual_details(session: AsyncSession, account: Account) -> CustomerDetails:
    if account.user_id is not None:
        user = await session.get_one(User, account.user_id)
        return CustomerDetails(user.name or user.id, user.email)
    organization = await session.get_one(Organization, account.organization_id)
    oldest = (
        select(User.email)
        .join(Membership, col(Membership.user_id) == User.id)
        .where(Membership.organization_id == organization.id, Membership.role == Role.OWNER)
        .where(col(User.email).is_not(None))
        .order_by(col(Membership.created_at), col(User.id))
        .limit(1)
    )
    return CustomerDetails(organization.name, (await session.exec(oldest)).first())


async def _authorize(
    session: AsyncSession, actor: Actor, account_id: str
) -> tuple[Account, UserActor]:
    """Only people change details: the audit log names them."""
    account = await authorize_managing(session, actor, account_id)
    if not isinstance(actor, UserActor):
        raise ForbiddenError("Only people who are signed in can change billing details.")
    return account, actor


async def lock_own(session: AsyncSession, account_id: int) -> BillingDetails:
    """The account's own details, made when there were none; locked until the transaction ends."""
    made = insert(BillingDetails).values(account_id=account_id).on_conflict_do_nothing()
    await (await session.connection()).execute(made)
    query = select(BillingDetails).where(BillingDetails.account_id == account_id)
    return (await session.exec(query.with_for_update())).one()


async def _set_email(
    session: AsyncSession,
    details_queue: DetailsQueue | None,
    person: UserActor,
    account_id: int,
    email: str | None,
    now: datetime,
) -> None:
    own = await lock_own(session, account_id)
    if own.email == email:
        return
    before, own.email = own.email, email
    session.add(own)
    change = CustomerChange(
        CustomerAction.CHANGE_BILLING_EMAIL, "billing_email", before or "", email or ""
    )
    await _finish(session, details_queue, person, account_id, change, now)


async def _finish(
    session: AsyncSession,
    details_queue: DetailsQueue | None,
    person: UserActor,
    account_id: int,
    change: CustomerChange,
    now: datetime,
) -> None:
    await session.flush()
    await record_own(session, person, account_id, change, now)
    if details_queue is not None:
        await details_queue.customer_details(session, account_id)
