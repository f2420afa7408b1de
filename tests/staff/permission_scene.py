"""What staff do something to: accounts of one person, offers, an event, somebody of the team."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from billing_app.billing import ids
from billing_app.billing.actors import Actor, StaffActor
from billing_app.billing.offers.catalogue import OfferTerms
from billing_app.billing.staff.access import viewing
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.catalogue import publishing
from billing_app.billing.staff.catalogue.drafts import DraftFields
from billing_app.billing.staff.repairs.grants import GRANT, Grant
from billing_app.billing.staff.repairs.refunds import Range
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.composition import Services
from billing_app.db.enums import Interval, StaffRole
from tests import factories
from tests.factories import OPERATOR, connect
from tests.staff.staff_services import WHY, Customer

WORKFLOW = "broken"
PORTAL_PERSON = "portal person"
FIELDS = DraftFields(OfferTerms("Team", "", 1_000, 2_500, "EUR", Interval.MONTH))
OTHER_FIELDS = replace(FIELDS, position=9)


class RepairAccount(Protocol):
    @property
    def id(self) -> str: ...
    def plan_id(self, sequence: int = 1) -> str: ...


class RepairScene(Protocol):
    """What repairs are done to: plan 1 of `customer` has paid for the event, plan 2 is paused;
    neither plan has an end, nor has the trial. `newcomer` is the address of a person who is not a
    member."""

    @property
    def now(self) -> datetime: ...
    @property
    def range(self) -> Range: ...
    @property
    def customer(self) -> RepairAccount: ...
    @property
    def blocked(self) -> RepairAccount: ...
    @property
    def trial(self) -> RepairAccount: ...
    @property
    def event_id(self) -> str: ...
    @property
    def newcomer(self) -> str: ...


@dataclass
class Scene:
    """Accounts that one person holds, each ready for something to be done to it."""

    staff_services: Services
    holder_id: str
    customer: Customer
    blocked: Customer
    trial: Customer
    event_id: str
    entry: EntryView
    member_id: str
    draft: str
    archived: str
    dead_event: str
    began: datetime
    newcomer: str
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def url(self) -> str:
        return self.staff_services.database.url

    @property
    def range(self) -> Range:
        return Range(WORKFLOW, self.began, self.now + timedelta(minutes=1))

    @property
    def because(self) -> dict[str, Any]:
        return {"reason": WHY, "now": self.now}

    def token(self, actor: Actor) -> str:
        user_id = actor.actor_id if isinstance(actor, StaffActor) else self.holder_id
        return factories.session_token(self.url, user_id)

    async def viewing_token(self, actor: Actor) -> str:
        token = self.token(actor)
        if isinstance(actor, StaffActor):
            await viewing.begin_view(
                self.staff_services.database, actor, token, self.customer.id, **self.because
            )
        return token


async def make_scene(staff_services: Services, holder_id: str) -> Scene:
    """Plan 1 in use, plan 2 paused; one event to refund; a grant to undo; a support member."""
    url = staff_services.database.url
    began = datetime.now(UTC) - timedelta(minutes=1)
    customer, blocked = (
        Customer(staff_services, factories.organization(url, 100, 50)) for _ in range(2)
    )
    for each in (customer, blocked):
        factories.membership(url, each.holder.organization_id, holder_id, "owner")
    factories.portal_session(url, customer.holder, PORTAL_PERSON)
    answer = await customer.use(7, workflow=WORKFLOW)
    with connect(url) as connection:
        number = [customer.holder.account_number]
        query = "UPDATE plans SET paused_at = now() WHERE account_id = %s AND sequence = 2"
        connection.execute(query, number)
        number = [blocked.holder.account_number]
        connection.execute("UPDATE accounts SET blocked_at = now() WHERE id = %s", number)
    entry = await carry_out(
        staff_services.repairs,
        OPERATOR,
        GRANT,
        customer.id,
        Grant(executions=5),
        reason=WHY,
        now=datetime.now(UTC),
    )
    with connect(url) as connection:
        found = connection.execute(
            "SELECT id FROM accounts WHERE user_id = %s", [holder_id]
        ).fetchone()
    holder = (
        factories.Holder(factories.PUBLIC, found[0])
        if found
        else factories.trial(url, holder_id, 100)
    )
    draft, archived = await _make_draft(staff_services), await _make_draft(staff_services)
    with connect(url) as connection:
        connection.execute("UPDATE offers SET archived_at = now() WHERE code = %s", [archived])
    return Scene(
        dead_event=_dead_event(url),
        draft=draft,
        archived=archived,
        staff_services=staff_services,
        holder_id=holder_id,
        customer=customer,
        blocked=blocked,
        trial=Customer(staff_services, holder, holder_id),
        event_id=answer["event_id"],
        entry=entry,
        member_id=factories.staff_member(url, StaffRole.SUPPORT).actor_id,
        began=began,
        newcomer=factories.person(url).email,
    )


def _dead_event(url: str) -> str:
    """A webhook that was set aside."""
    event_id = ids.new_id("evt_")
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO webhook_events (id, type, object_id, customer_id, payload, state,"
            " attempts, replays, occurred_at, received_at)"
            " VALUES (%s, 'invoice.paid', '', '', '{}', 'dead', 5, 0, now(), now())",
            [event_id],
        )
    return event_id


async def _make_draft(staff_services: Services) -> str:
    """An offer that is a draft yet, in revision 1."""
    code = ids.new_id("offer-")
    await publishing.create_offer(
        staff_services.database,
        OPERATOR,
        code=code,
        fields=FIELDS,
        reason=WHY,
        now=datetime.now(UTC),
    )
    return code
