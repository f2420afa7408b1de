"""Who is mailed about a webhook endpoint that was switched off, and what."""

from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.billing_details import details_of
from billing_app.billing.accounts.service import MANAGING_ROLES
from billing_app.billing.mail import Letter, Mailer, letter_mail
from billing_app.billing.staff.access.permissions import Action, may
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, StaffRole
from billing_app.db.tables import Account, Membership, StaffMember, User, WebhookEndpoint
from billing_app.routes import STAFF_WEBHOOKS, WEBHOOKS_PAGE

MAX_RECIPIENTS: Final = 20


async def recipients_of(session: AsyncSession, endpoint: WebhookEndpoint) -> list[str]:
    """E-mail addresses: of the organization's owners and billing admins, or else its billing
    address; of the staff who may manage the platform's endpoints. At most MAX_RECIPIENTS."""
    if endpoint.organization_id is None:
        roles = [role for role in StaffRole if may(role, Action.MANAGE_WEBHOOKS)]
        staff = select(User.email).join(StaffMember, col(StaffMember.user_id) == User.id)
        staff = staff.where(col(StaffMember.removed_at).is_(None))
        query = staff.where(col(StaffMember.role).in_(roles))
    else:
        people = select(User.email).join(Membership, col(Membership.user_id) == User.id)
        people = people.where(Membership.organization_id == endpoint.organization_id)
        query = people.where(col(Membership.role).in_(MANAGING_ROLES))
    query = query.where(col(User.email).is_not(None)).order_by(col(User.email))
    found = [email for email in (await session.exec(query.limit(MAX_RECIPIENTS))).all() if email]
    return found or await _billing_address(session, endpoint)


async def _billing_address(session: AsyncSession, endpoint: WebhookEndpoint) -> list[str]:
    query = select(Account).where(Account.organization_id == endpoint.organization_id)
    account = (await session.exec(query.where(Account.kind == AccountKind.ORGANIZATION))).first()
    email = (await details_of(session, account)).email if account else None
    return [email] if email else []


async def mail_disabled(
    database: Database, mailer: Mailer, *, endpoint_id: str, email: str, site: str
) -> None:
    """Nothing when it was removed, or switched on again, meanwhile. Raises what `mailer` raises."""
    async with database.reading() as session:
        endpoint = await session.get(WebhookEndpoint, endpoint_id)
    if endpoint is None or endpoint.disabled_at is None:
        return
    letter = Letter(
        headline="A webhook endpoint was switched off",
        paragraphs=(
            f"Webhooks to {endpoint.url} kept failing, so {site} no longer sends them.",
            (
                "Events that happen meanwhile are not delivered. Once the endpoint works again,"
                " switch it on in the webhook settings; failed deliveries can be sent again from"
                " its log."
            ),
        ),
        button="Open the webhook settings",
        url=f"{site}{WEBHOOKS_PAGE if endpoint.organization_id else STAFF_WEBHOOKS}",
        small_print=f"Sent to those who manage webhooks at {site}.",
    )
    await mailer.send(letter_mail(email, letter.headline, letter))
