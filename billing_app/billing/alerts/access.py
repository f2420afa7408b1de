"""Who may see an account's alerts and set its rules."""

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.service import authorize_managing, key_may_read
from billing_app.billing.actors import Actor, ServiceActor, require_scope
from billing_app.billing.errors import AccountNotFoundError
from billing_app.db.enums import Scope
from billing_app.db.tables import Account


async def authorize_alerts(
    session: AsyncSession, actor: Actor, account_id: str, *, reading: bool
) -> Account:
    """The account. People who may manage it may change its rules, and its members may look; keys
    need the scope `alerts`.

    Raises AccountNotFoundError, ForbiddenError, ScopeMissingError.
    """
    if not isinstance(actor, ServiceActor):
        return await authorize_managing(session, actor, account_id, reading=reading)
    require_scope(actor, Scope.ALERTS)
    account = await session.get(Account, ids.decode_account(account_id) or 0)
    if account is None or not key_may_read(actor, account.organization_id, account.id):
        raise AccountNotFoundError
    return account


def name_of(actor: Actor) -> str:
    """Who changed a rule, as it is stored."""
    if isinstance(actor, ServiceActor):
        return f"key:{actor.key_id}"
    for name in ("user_id", "person_id", "actor_id"):
        if isinstance(found := getattr(actor, name, None), str):
            return found
    return "operator"
