"""The card on file, read from the payment provider while the rest of the page is shown."""

import reflex as rx
import structlog
from reflex.event import EventSpec

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions.invoices import read_payment_method
from billing_app.composition import get_services
from billing_app.states.payments import UNAVAILABLE, UNREADABLE, card_on_file
from billing_app.states.session import SessionState, leave_for_sign_in, patience
from billing_app.states.views import CardOnFile

log = structlog.get_logger(__name__)


class CardState(SessionState):
    """The card that the next payment is charged to."""

    card: rx.Field[CardOnFile] = rx.field(default_factory=CardOnFile)
    _of_account: str = ""

    @rx.event(background=True)
    async def ask(self) -> EventSpec | None:
        """Read the card; a provider that does not answer in time can be asked again."""
        async with self:
            actor, account_id = await self._actor(), self.account.account_id
            if actor is None:
                return leave_for_sign_in(self.router.url.path)
            if self.card.state != "known" or self._of_account != account_id:
                self.card = CardOnFile(state="loading", text="Loading the card on file from Stripe")
            self._of_account = account_id
        services = get_services()
        try:
            async with patience():
                method = await read_payment_method(
                    services.database, services.provider, actor, account_id
                )
        except (BillingError, TimeoutError) as error:
            log.warning("card_not_read", error=type(error).__name__)
            card = UNAVAILABLE
        except Exception:
            log.exception("card_not_read")
            card = UNREADABLE
        else:
            card = card_on_file(method)
        async with self:
            if self._of_account == account_id:
                self._show(card=card)
        return None
