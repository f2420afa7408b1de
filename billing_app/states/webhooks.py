"""Webhook endpoints and their delivery log: what customers' pages and the console share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import reflex as rx
import structlog
from reflex.event import EventSpec

from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.actors import Actor
from billing_app.billing.errors import BillingError, ForbiddenError
from billing_app.billing.webhooks_out.deliveries import DeliveryQuery
from billing_app.billing.webhooks_out.endpoints import CHOICES, EndpointFields
from billing_app.billing.webhooks_out.views import EndpointView
from billing_app.composition import get_services
from billing_app.db.enums import DeliveryStatus
from billing_app.states.change_polling import LivePage
from billing_app.states.error_messages import problem, unexpected_problem
from billing_app.states.session import SessionState
from billing_app.states.views import AccountChoice, Message
from billing_app.states.webhook_views import (
    DELIVERY_STATUSES,
    DeliveryDetailItem,
    DeliveryItem,
    EndpointItem,
    delivery_detail_item,
    delivery_item,
    endpoint_item,
)

ADD, EDIT, ROTATE, DELETE, SECRET, DELIVERY = "add", "edit", "rotate", "delete", "secret", "log"
DIALOGS: Final = (ADD, EDIT, ROTATE, DELETE)
ROWS: Final = 25
WAITING: Final = DELIVERY_STATUSES[DeliveryStatus.PENDING][0]
TYPE_FIELD: Final = "type "

Result = TypeVar("Result")
log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    Page = SessionState
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State


@dataclass(frozen=True, slots=True)
class EndpointOwner:
    """Who asks, and whose endpoints are shown; None: the platform's."""

    actor: Actor
    organization_id: str | None


class WebhookPage(Page, mixin=True):
    """A page's state inherits from this, and says in `_endpoint_owner` whose endpoints it shows.

    The services authorize every call: what a browser sends are IDs and text.
    """

    endpoints: rx.Field[list[EndpointItem]] = rx.field(default_factory=list)
    chosen: rx.Field[EndpointItem] = rx.field(default_factory=EndpointItem)
    deliveries: rx.Field[list[DeliveryItem]] = rx.field(default_factory=list)
    delivery: rx.Field[DeliveryDetailItem] = rx.field(default_factory=DeliveryDetailItem)
    chosen_status: rx.Field[str] = rx.field("")
    chosen_type: rx.Field[str] = rx.field("")
    page_number: rx.Field[int] = rx.field(1)
    has_older: rx.Field[bool] = rx.field(False)
    dialog: rx.Field[str] = rx.field("")
    edited: rx.Field[EndpointItem] = rx.field(default_factory=EndpointItem)
    secret: rx.Field[str] = rx.field("")
    is_copied: rx.Field[bool] = rx.field(False)
    problem: rx.Field[Message] = rx.field(default_factory=Message)
    done: rx.Field[Message] = rx.field(default_factory=Message)
    _chosen_id: str = ""
    _cursors: tuple[str, ...] = ()
    _next_cursor: str | None = None

    async def _endpoint_owner(self) -> EndpointOwner | None:
        """None: nobody is signed in, or there are no endpoints for what is shown."""
        raise NotImplementedError

    async def _read_again(self) -> EventSpec | None:
        raise NotImplementedError

    def _problem_of(self, error: BillingError) -> Message:
        return problem(error, charges=False)

    @rx.event
    def begin(self) -> None:
        """The page was opened: a secret is shown once, not after a reload."""
        self._show(dialog="", secret="", problem=Message(), done=Message())

    @rx.event
    def ask(self, dialog: str, endpoint_id: str) -> None:
        """Open a dialog about an endpoint, or to add one."""
        found = next((each for each in self.endpoints if each.id == endpoint_id), None)
        if dialog in DIALOGS and (found or dialog == ADD):
            self._show(
                dialog=dialog, edited=found or EndpointItem(), problem=Message(), done=Message()
            )

    @rx.event
    def close(self) -> None:
        """Close the dialog. A secret is not shown again."""
        self._show(dialog="", secret="", is_copied=False, problem=Message())

    @rx.event
    def hide_result(self) -> None:
        """Hide what came of the last action."""
        self._show(done=Message())

    @rx.event
    def note_copied(self) -> None:
        """The secret is in the clipboard."""
        self._show(is_copied=self.secret != "")

    @rx.event
    async def save(self, form: dict[str, Any]) -> EventSpec | None:
        """Add an endpoint, or change the one of the dialog."""
        fields, endpoint_id = _fields(form), self.edited.id
        if self.dialog == ADD:
            added = await self._carry_out(
                lambda owner, now: get_services().webhook_endpoints.add(
                    owner.actor, owner.organization_id, fields, now
                )
            )
            if added is None:
                return None
            self._chosen_id = added.endpoint.id
            self._show_secret(added.secret)
            return await self._from_the_start()
        if self.dialog != EDIT:
            return None
        return await self._change(endpoint_id, fields, "Endpoint changed")

    @rx.event
    async def switch(self, endpoint_id: str) -> EventSpec | None:
        """Pause an endpoint, or the reverse."""
        shown = next((each for each in self.endpoints if each.id == endpoint_id), None)
        if shown is None:
            return None
        is_paused = shown.switch == "Pause"
        title = "Endpoint paused" if is_paused else "Endpoint is on"
        text = "Events wait until it is resumed." if is_paused else ""
        return await self._change(endpoint_id, EndpointFields(is_paused=is_paused), title, text)

    @rx.event
    async def rotate(self) -> EventSpec | None:
        """Make a new secret for the endpoint of the dialog."""
        if self.dialog != ROTATE:
            return None
        endpoint_id = self.edited.id
        rotated = await self._carry_out(
            lambda owner, now: get_services().webhook_endpoints.rotate_secret(
                owner.actor, endpoint_id, now
            )
        )
        if rotated is None:
            return None
        self._show(edited=endpoint_item(rotated.endpoint))
        self._show_secret(rotated.secret)
        return await self._read_again()

    @rx.event
    async def delete(self) -> EventSpec | None:
        """Delete the endpoint of the dialog, with its deliveries."""
        if self.dialog != DELETE:
            return None
        endpoint_id = self.edited.id

        async def work(owner: EndpointOwner, now: datetime) -> bool:
            await get_services().webhook_endpoints.remove(owner.actor, endpoint_id, now)
            return True

        if not await self._carry_out(work):
            return None
        self._finish("Endpoint deleted")
        return await self._from_the_start()

    @rx.event
    async def send_test(self, endpoint_id: str) -> EventSpec | None:
        """Send a test event to an endpoint, and show its deliveries."""
        sent = await self._carry_out(
            lambda owner, now: get_services().webhook_deliveries.send_test(
                owner.actor, endpoint_id, now
            )
        )
        if sent is None:
            return None
        self._chosen_id = endpoint_id
        self._show(chosen_status="", chosen_type="")
        self._finish("Test event on its way", "It appears under Deliveries.")
        return await self._from_the_start()

    @rx.event
    async def choose(self, endpoint_id: str) -> EventSpec | None:
        """Show the deliveries of an endpoint."""
        self._chosen_id = endpoint_id
        return await self._from_the_start()

    @rx.event
    async def filter_status(self, status: str) -> EventSpec | None:
        """Show deliveries with a status; "" shows all."""
        self._show(chosen_status=status if status in set(DeliveryStatus) else "")
        return await self._from_the_start()

    @rx.event
    async def filter_type(self, event_type: str) -> EventSpec | None:
        """Show deliveries of a type; "" shows all."""
        self._show(chosen_type=event_type if event_type in set(EventType) else "")
        return await self._from_the_start()

    @rx.event
    async def show_older(self) -> EventSpec | None:
        """The next page of deliveries."""
        if self._next_cursor is None:
            return None
        self._cursors = (*self._cursors, self._next_cursor)
        return await self._read_again()

    @rx.event
    async def show_newer(self) -> EventSpec | None:
        """The page before."""
        self._cursors = self._cursors[:-1]
        return await self._read_again()

    @rx.event
    async def open_delivery(self, delivery_id: str) -> None:
        """Show a delivery's body and attempts."""
        endpoint_id = self.chosen.id
        detail = await self._carry_out(
            lambda owner, _: get_services().webhook_deliveries.read(
                owner.actor, endpoint_id, delivery_id
            )
        )
        if detail is not None:
            self._show(delivery=delivery_detail_item(detail), dialog=DELIVERY)

    @rx.event
    async def redeliver(self) -> EventSpec | None:
        """Send the open delivery once more."""
        if self.dialog != DELIVERY:
            return None
        endpoint_id, delivery_id = self.chosen.id, self.delivery.delivery.id
        sent = await self._carry_out(
            lambda owner, now: get_services().webhook_deliveries.redeliver(
                owner.actor, endpoint_id, delivery_id, now
            )
        )
        if sent is None:
            return None
        self._finish("Delivery on its way again", "The ID and the body are the same as before.")
        return await self._read_again()

    async def _change(
        self, endpoint_id: str, fields: EndpointFields, title: str, text: str = ""
    ) -> EventSpec | None:
        changed = await self._carry_out(
            lambda owner, now: get_services().webhook_endpoints.update(
                owner.actor, endpoint_id, fields, now
            )
        )
        if changed is None:
            return None
        self._finish(title, text)
        return await self._read_again()

    async def _carry_out(
        self, work: Callable[[EndpointOwner, datetime], Awaitable[Result]]
    ) -> Result | None:
        """The service's result, or None with the reason shown."""
        self._show(problem=Message(), done=Message())
        try:
            owner = await self._endpoint_owner()
            return None if owner is None else await work(owner, datetime.now(UTC))
        except BillingError as error:
            self._show_failure(self._problem_of(error))
        except Exception:
            log.exception("webhook_action_failed", page=type(self).__name__)
            self._show_failure(unexpected_problem(charges=False))
        return None

    def _show_failure(self, message: Message) -> None:
        """In the dialog if one is open, else on the page."""
        self._show(**{"problem" if self.dialog else "done": message})

    def _show_secret(self, secret: str) -> None:
        self._show(dialog=SECRET, secret=secret, is_copied=False)

    def _finish(self, title: str, text: str = "") -> None:
        self._show(dialog="", done=Message("good", title, text))

    async def _from_the_start(self) -> EventSpec | None:
        self._cursors = ()
        return await self._read_again()

    async def _read_webhooks(self, owner: EndpointOwner) -> None:
        """Raises what the services raise."""
        services, now = get_services(), datetime.now(UTC)
        views = await services.webhook_endpoints.list(owner.actor, owner.organization_id, now)
        chosen = _chosen(views, self._chosen_id)
        if (chosen.id if chosen else "") != self.chosen.id:
            self._cursors = ()
        await self._read_deliveries(owner, chosen)
        self._show(
            endpoints=[endpoint_item(view) for view in views],
            chosen=endpoint_item(chosen) if chosen else EndpointItem(),
        )

    async def _read_deliveries(self, owner: EndpointOwner, chosen: EndpointView | None) -> None:
        if chosen is None:
            self._show(deliveries=[], has_older=False, page_number=1)
            return
        where = DeliveryQuery(
            DeliveryStatus(self.chosen_status) if self.chosen_status else None,
            EventType(self.chosen_type) if self.chosen_type else None,
        )
        page = await get_services().webhook_deliveries.list(
            owner.actor,
            chosen.id,
            where,
            limit=ROWS,
            cursor=self._cursors[-1] if self._cursors else None,
        )
        self._next_cursor = page.next_cursor
        self._show(
            deliveries=[delivery_item(each) for each in page.items],
            has_older=page.next_cursor is not None,
            page_number=len(self._cursors) + 1,
        )

    def _is_waiting(self) -> bool:
        """Whether a delivery that is shown may change at any moment."""
        return any(each.status == WAITING for each in self.deliveries)


class WebhooksState(WebhookPage, LivePage, SessionState):
    """The endpoints of the organization that is shown."""

    is_personal: rx.Field[bool] = rx.field(False)
    is_refused: rx.Field[bool] = rx.field(False)

    async def _endpoint_owner(self) -> EndpointOwner | None:
        actor = await self._actor()
        organization_id = self.account.organization_id
        return EndpointOwner(actor, organization_id) if actor and organization_id else None

    async def _read_again(self) -> EventSpec | None:
        return await self._refresh()

    def _is_fresh(self) -> bool:
        return not self._is_waiting() and super()._is_fresh()

    async def _read(self, actor: Any, account: AccountChoice) -> None:
        self._show(is_personal=account.organization_id == "", is_refused=False)
        try:
            if account.organization_id:
                await self._read_webhooks(EndpointOwner(actor, account.organization_id))
                return
        except ForbiddenError:
            self._show(is_refused=True)
        self._show(endpoints=[], deliveries=[], chosen=EndpointItem())


def _chosen(views: list[EndpointView], endpoint_id: str) -> EndpointView | None:
    """The first one, unless another was chosen."""
    found = [view for view in views if view.id == endpoint_id]
    return (found or views or [None])[0]


def _fields(form: dict[str, Any]) -> EndpointFields:
    types = [str(each) for each in CHOICES if form.get(f"{TYPE_FIELD}{each}")]
    return EndpointFields(
        url=str(form.get("url", "")), description=str(form.get("description", "")), types=types
    )
