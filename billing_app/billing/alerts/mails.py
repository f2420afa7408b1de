"""Alerts by mail, each to one person."""

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.alerts.links import LINKS
from billing_app.billing.alerts.preferences import ensure_row, preferences_of, unsubscribe_token
from billing_app.billing.alerts.service import AlertView, view_of
from billing_app.billing.mail import Letter, Mail, Mailer, letter_mail
from billing_app.db.engine import Database
from billing_app.db.enums import AlertChannel
from billing_app.db.tables import Account, Alert, AlertDelivery, Organization, User
from billing_app.routes import ALERTS_PAGE, UNSUBSCRIBE


async def mail_alert(
    database: Database,
    mailer: Mailer,
    *,
    account_id: int,
    number: int,
    user_id: str,
    site: str,
    now: datetime,
) -> None:
    """Send it, unless it was sent or the person does not want it any more. Raises what `mailer`
    raises."""
    key = (account_id, number, user_id, AlertChannel.MAIL)
    async with database.transaction() as session:
        delivery = await session.get(AlertDelivery, key)
        alert = await session.get(Alert, (account_id, number))
        user = await session.get(User, user_id)
        if delivery is None or delivery.sent_at or alert is None or user is None or not user.email:
            return
        row = await ensure_row(session, user_id, now)
        view = view_of(alert)
        if not preferences_of(row).wants(view.kind):
            return
        holder = await _holder(session, account_id)
        token = unsubscribe_token(row)
    await mailer.send(alert_mail(view, holder, to=user.email, site=site, token=token))
    async with database.transaction() as session:
        sent = await session.get_one(AlertDelivery, key, with_for_update=True)
        sent.sent_at = now
        session.add(sent)


def alert_mail(alert: AlertView, holder: str, *, to: str, site: str, token: str) -> Mail:
    """`holder`: the organization, "" for a person's own account. `token`: unsubscribes."""
    link = LINKS[alert.kind]
    reason = f"you manage {holder}" if holder else "alerts by email are on for your account"
    letter = Letter(
        headline=alert.headline,
        paragraphs=(alert.detail, f"Account: {holder}") if holder else (alert.detail,),
        button=link.label,
        url=f"{site}{link.page}",
        small_print=f"You get this because {reason}.",
        small_link=("Choose your alerts", f"{site}{ALERTS_PAGE}"),
    )
    subject = f"{holder}: {alert.headline}" if holder else alert.headline
    return letter_mail(to, subject, letter, unsubscribe_url=f"{site}{UNSUBSCRIBE}/{token}")


async def _holder(session: AsyncSession, account_id: int) -> str:
    account = await session.get_one(Account, account_id)
    if account.user_id is not None:
        return ""
    return (await session.get_one(Organization, account.organization_id)).name
