"""The platform's webhook endpoints."""

from reflex.event import EventSpec

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import BillingError
from billing_app.states.session import SessionState
from billing_app.states.staff.page import StaffPage
from billing_app.states.views import Message
from billing_app.states.webhooks import EndpointOwner, WebhookPage


class StaffWebhooksState(WebhookPage, StaffPage, SessionState):
    """Events of every account go to these."""

    async def _endpoint_owner(self) -> EndpointOwner | None:
        staff, _ = await self._staff()
        return EndpointOwner(staff, None) if staff else None

    async def _read_again(self) -> EventSpec | None:
        return await self._refresh()

    def _problem_of(self, error: BillingError) -> Message:
        return Message("bad", error.detail)

    async def _read(self, staff: StaffActor) -> None:
        await self._read_webhooks(EndpointOwner(staff, None))
