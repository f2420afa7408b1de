"""From an event to its delivery, over days of failures."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import pytest

from billing_app.api.plans import encode_current
from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import NewEvent, append
from billing_app.billing.retention import purge_webhooks
from billing_app.billing.subscriptions.account_summary import read_summary
from billing_app.billing.webhooks_out import dispatch
from billing_app.billing.webhooks_out.account_state import read_state
from billing_app.billing.webhooks_out.attempts import DELAYS_SECONDS, DISABLED_AFTER
from billing_app.billing.webhooks_out.deliveries import (
    DeliveryQuery,
    EndpointDisabledError,
    WebhookDeliveries,
)
from billing_app.billing.webhooks_out.endpoints import EndpointFields, WebhookEndpoints
from billing_app.client.webhooks import verify_webhook
from billing_app.db.engine import Database
from billing_app.db.enums import DeliveryStatus, EndpointStatus
from billing_app.db.tables import Account
from tests.billing.webhooks_out.receivers import Receiver, receiving
from tests.billing.webhooks_out.simulated import Simulated
from tests.factories import OPERATOR, Holder, connect, member, organization

NOW: Final = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY: Final = timedelta(days=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as made:
        yield made


@pytest.fixture
async def database(own_database_url: str) -> Any:
    made = Database(own_database_url)
    yield made
    await made.dispose()


class World:
    """An organization whose endpoint is `receiver`."""

    def __init__(self, database: Database, receiver: Receiver, url: str) -> None:
        self.database = database
        self.receiver = receiver
        self.holder: Holder = organization(url, 20)
        self.endpoints = WebhookEndpoints(database, allow_private=True)
        self.deliveries = WebhookDeliveries(database)
        self.simulated = Simulated(database, NOW)
        self.endpoint_id, self.secret = "", ""

    async def add_endpoint(self, **fields: Any) -> "World":
        made = await self.endpoints.add(
            OPERATOR,
            self.holder.organization_id,
            EndpointFields(url=self.receiver.url, **fields),
            NOW,
        )
        self.endpoint_id, self.secret = made.endpoint.id, made.secret
        return self

    async def happens(self, event_type: EventType = EventType.INVOICE_PAID, **data: Any) -> None:
        async with self.database.transaction() as session:
            event = NewEvent(event_type, data)
            await append(session, self.holder.account_number, event, self.simulated.now)

    async def log(self, status: DeliveryStatus | None = None) -> list[Any]:
        page = await self.deliveries.list(OPERATOR, self.endpoint_id, DeliveryQuery(status))
        return page.items

    async def status(self) -> EndpointStatus:
        return (await self.endpoints.read(OPERATOR, self.endpoint_id, NOW)).status


@pytest.fixture
async def world(database: Database, receiver: Receiver, own_database_url: str) -> World:
    return await World(database, receiver, own_database_url).add_endpoint()


async def test_event_arrives_signed_with_the_whole_state(world: World) -> None:
    await world.happens(invoice="in_1")
    await world.simulated.run(NOW + DAY)
    (received,) = world.receiver.received
    verified = verify_webhook(received.body, received.headers, world.secret, now=NOW)
    assert verified.type == "invoice.paid"
    assert verified.payload["timestamp"] == "2026-11-30T12:00:00Z"
    data = verified.payload["data"]
    account = data.pop("account")
    assert data == {"invoice": "in_1"}
    summary = await read_summary(world.database, OPERATOR, world.holder.account_id, NOW)
    current = msgspec.json.decode(encode_current(summary.current, summary.next_executions) or b"")
    assert current == {name: account[name] for name in current}
    assert account["organization_id"] == world.holder.organization_id
    assert account["version"] > 0
    (delivery,) = await world.log()
    assert (delivery.status, delivery.attempts, delivery.response_status) == ("delivered", 1, 204)
    assert delivery.message_id == verified.id
    detail = await world.deliveries.read(OPERATOR, world.endpoint_id, delivery.id)
    assert detail.body.encode() == received.body


async def test_later_state_has_a_higher_version(world: World) -> None:
    for _ in range(5):
        await world.happens()
        await world.simulated.run(world.simulated.now + DAY)
    bodies = [msgspec.json.decode(each.body) for each in world.receiver.received]
    versions = [body["data"]["account"]["version"] for body in bodies]
    assert versions == sorted(set(versions))
    assert len(versions) == 5


async def test_only_chosen_types_and_own_accounts_are_delivered(
    world: World, own_database_url: str
) -> None:
    other = World(world.database, world.receiver, own_database_url)
    await other.add_endpoint(types=["plan.ended"])
    await world.happens(EventType.PLAN_ENDED)
    await world.happens(EventType.INVOICE_PAID)
    await other.happens(EventType.INVOICE_PAID)
    await world.simulated.run(NOW + DAY)
    assert {each.type for each in await world.log()} == {"invoice.paid", "plan.ended"}
    assert await other.log() == []


async def test_platform_hears_of_every_account(world: World) -> None:
    made = await world.endpoints.add(
        OPERATOR, None, EndpointFields(url=world.receiver.url + "?platform"), NOW
    )
    await world.happens()
    await world.simulated.run(NOW + DAY)
    assert {each.path for each in world.receiver.received} == {"/hook", "/hook?platform"}
    first, second = world.receiver.received
    assert first.body == second.body
    page = await world.deliveries.list(OPERATOR, made.endpoint.id)
    assert len(page.items) == 1


async def test_event_is_dispatched_once_by_many_workers(world: World) -> None:
    await world.happens()
    await world.simulated.dispatch()
    with connect(world.database.url) as connection:
        connection.execute("UPDATE account_events SET dispatched_at = NULL")
    await world.simulated.run(NOW + DAY)
    assert len(world.receiver.received) == 1


async def test_receiver_that_is_down_for_a_day_gets_it_with_the_same_id(world: World) -> None:
    world.receiver.answer = lambda _: (503, b"down")
    await world.happens()
    await world.simulated.run(NOW + DAY)
    world.receiver.answer = lambda _: (200, b"ok")
    await world.simulated.run(NOW + 3 * DAY)
    received = world.receiver.received
    assert len(received) > 5
    assert len({each.headers["webhook-id"] for each in received}) == 1
    assert len({each.body for each in received}) == 1
    (delivery,) = await world.log()
    assert (delivery.status, delivery.attempts) == ("delivered", len(received))
    assert (await world.endpoints.read(OPERATOR, world.endpoint_id, NOW)).failing_since is None
    detail = await world.deliveries.read(OPERATOR, world.endpoint_id, delivery.id)
    assert [each.answer for each in detail.attempts][:2] == ["ok", "down"]


async def test_attempts_end_after_three_days_with_growing_gaps(world: World) -> None:
    world.receiver.answer = lambda _: (500, b"")
    await world.happens()
    await world.simulated.run(NOW + 4 * DAY)
    times = world.simulated.sent_at
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) == len(DELAYS_SECONDS) + 1
    assert gaps == sorted(gaps)
    assert timedelta(days=2.9) < times[-1] - times[0] < timedelta(days=3.3)
    (delivery,) = await world.log()
    assert delivery.status is DeliveryStatus.FAILED
    assert delivery.next_attempt_at is None
    assert await world.status() is EndpointStatus.ENABLED


async def test_failed_delivery_can_be_sent_again_with_the_same_id(world: World) -> None:
    world.receiver.answer = lambda _: (500, b"")
    await world.happens()
    await world.simulated.run(NOW + 4 * DAY)
    world.receiver.answer = lambda _: (200, b"")
    (delivery,) = await world.log()
    again = await world.deliveries.redeliver(
        OPERATOR, world.endpoint_id, delivery.id, world.simulated.now
    )
    assert again.status is DeliveryStatus.PENDING
    await world.simulated.run(NOW + 5 * DAY)
    (delivered,) = await world.log(DeliveryStatus.DELIVERED)
    assert delivered.attempts == delivery.attempts + 1
    assert len({each.headers["webhook-id"] for each in world.receiver.received}) == 1


async def test_redelivery_replaces_the_attempts_that_were_to_come(world: World) -> None:
    world.receiver.answer = lambda _: (500, b"")
    await world.happens()
    await world.simulated.run(NOW + timedelta(hours=1))
    (delivery,) = await world.log()
    for _ in range(2):
        await world.deliveries.redeliver(
            OPERATOR, world.endpoint_id, delivery.id, world.simulated.now
        )
    before = len(world.receiver.received)
    world.receiver.answer = lambda _: (200, b"")
    await world.simulated.run(NOW + 4 * DAY)
    assert len(world.receiver.received) == before + 1


async def test_interrupted_attempt_is_made_again_and_a_kept_one_is_not(world: World) -> None:
    """A worker that is killed after the answer was kept repeats the job."""
    world.receiver.answer = lambda _: (500, b"")
    await world.happens()
    await world.simulated.dispatch()
    job = world.simulated.jobs[0]
    await world.simulated.run(NOW)
    world.simulated.jobs.append(job)
    world.simulated.jobs.sort()
    await world.simulated.run(NOW)
    assert len(world.receiver.received) == 1


async def test_paused_endpoint_keeps_events_until_it_is_resumed(world: World) -> None:
    world.receiver.answer = lambda _: (500, b"")
    await world.happens(number=1)
    await world.simulated.run(NOW)
    await world.endpoints.update(OPERATOR, world.endpoint_id, EndpointFields(is_paused=True), NOW)
    await world.happens(number=2)
    await world.simulated.run(NOW + DAY)
    assert len(world.receiver.received) == 1
    assert {each.status for each in await world.log()} == {DeliveryStatus.PENDING}
    world.receiver.answer = lambda _: (200, b"")
    await world.endpoints.update(
        OPERATOR, world.endpoint_id, EndpointFields(is_paused=False), NOW + DAY
    )
    await world.simulated.run(NOW + 2 * DAY)
    assert len(world.receiver.received) == 3
    assert {each.status for each in await world.log()} == {DeliveryStatus.DELIVERED}


async def test_endpoint_is_switched_off_after_five_days_with_a_mail(
    world: World, own_database_url: str
) -> None:
    owner = member(own_database_url, world.holder.organization_id, "owner")
    member(own_database_url, world.holder.organization_id, "member")
    with connect(own_database_url) as connection:
        connection.execute("UPDATE users SET email = id || '@example.com', password_hash = 'x'")
    world.receiver.answer = lambda _: (500, b"")
    for _ in range(int(DISABLED_AFTER / DAY) + 1):
        await world.happens()
        await world.simulated.run(world.simulated.now + DAY)
    endpoint = await world.endpoints.read(OPERATOR, world.endpoint_id, NOW)
    assert endpoint.status is EndpointStatus.DISABLED
    assert endpoint.disabled_at is not None
    assert world.simulated.mails == [(world.endpoint_id, f"{owner}@example.com")]
    assert {each.status for each in await world.log()} == {DeliveryStatus.FAILED}
    (last, *_) = await world.log()
    with pytest.raises(EndpointDisabledError):
        await world.deliveries.redeliver(OPERATOR, world.endpoint_id, last.id, NOW)
    before = len(await world.log())
    await world.happens()
    await world.simulated.run(world.simulated.now + DAY)
    assert len(await world.log()) == before

    world.receiver.answer = lambda _: (200, b"")
    resumed = EndpointFields(is_paused=False)
    view = await world.endpoints.update(OPERATOR, world.endpoint_id, resumed, world.simulated.now)
    assert (view.status, view.disabled_at, view.failing_since) == ("enabled", None, None)
    await world.deliveries.redeliver(OPERATOR, world.endpoint_id, last.id, world.simulated.now)
    await world.happens()
    await world.simulated.run(world.simulated.now + DAY)
    assert len(await world.log(DeliveryStatus.DELIVERED)) == 2


async def test_endpoint_that_says_it_is_gone_is_switched_off_at_once(world: World) -> None:
    world.receiver.answer = lambda _: (410, b"")
    await world.happens()
    await world.simulated.run(NOW + DAY)
    assert len(world.receiver.received) == 1
    assert await world.status() is EndpointStatus.DISABLED


async def test_rotation_signs_with_both_secrets_for_a_day(world: World) -> None:
    made = await world.endpoints.rotate_secret(OPERATOR, world.endpoint_id, NOW)
    assert made.secret != world.secret
    await world.happens()
    await world.simulated.run(NOW + DAY)
    await world.happens()
    await world.simulated.run(NOW + 2 * DAY)
    during, after = world.receiver.received
    for secret in (world.secret, made.secret):
        verify_webhook(during.body, during.headers, secret, now=NOW)
    verify_webhook(after.body, after.headers, made.secret, now=NOW + DAY)
    assert len(during.headers["webhook-signature"].split()) == 2
    assert len(after.headers["webhook-signature"].split()) == 1


async def test_event_of_an_unknown_account_is_put_aside(
    world: World, own_database_url: str
) -> None:
    with connect(own_database_url) as connection:
        connection.execute(
            "INSERT INTO account_events (account_id, id, type, data, created_at)"
            " VALUES (5, gen_random_uuid(), 'plan.ended', '{}', now() - interval '1 day')"
        )
    await world.happens()
    await world.simulated.run(NOW + DAY)
    assert len(world.receiver.received) == 1
    with connect(own_database_url) as connection:
        waiting = "SELECT FROM account_events WHERE dispatched_at IS NULL"
        assert connection.execute(waiting).rowcount == 0


async def test_one_accounts_error_stops_no_other(
    world: World, own_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await World(world.database, world.receiver, own_database_url).add_endpoint()

    async def fail_for_other(database: Database, account: Account, *rest: Any) -> Any:
        if account.id == other.holder.account_number:
            raise RuntimeError
        return await read_state(database, account, *rest)

    await other.happens()
    await world.happens()
    with monkeypatch.context() as patched:
        patched.setattr(dispatch, "read_state", fail_for_other)
        patched.setattr(dispatch, "MAX_EVENTS", 1)
        assert await dispatch.dispatch_events(world.database, NOW) == 1
        assert await dispatch.dispatch_events(world.database, NOW) == 0
    assert len(await world.log()) == 1
    assert await other.log() == []
    await world.simulated.run(NOW)
    assert len(world.receiver.received) == 2
    assert len(await other.log()) == 1


async def test_log_is_kept_for_thirty_days_and_events_for_ninety(
    world: World, own_database_url: str
) -> None:
    await world.happens()
    await world.simulated.run(NOW + DAY)
    await purge_webhooks(world.database, now=NOW + 29 * DAY)
    assert len(await world.log()) == 1
    await purge_webhooks(world.database, now=NOW + 32 * DAY)
    assert await world.log() == []
    with connect(own_database_url) as connection:
        count = (
            "SELECT (SELECT count(*) FROM account_events), (SELECT count(*) FROM webhook_attempts)"
        )
        assert connection.execute(count.encode()).fetchone() == (1, 0)
        await purge_webhooks(world.database, now=NOW + 91 * DAY)
        assert connection.execute(count.encode()).fetchone() == (0, 0)


async def test_test_button_sends_to_an_endpoint_of_any_types(world: World) -> None:
    fields = EndpointFields(types=["plan.ended"])
    await world.endpoints.update(OPERATOR, world.endpoint_id, fields, NOW)
    await world.deliveries.send_test(OPERATOR, world.endpoint_id, NOW)
    await world.simulated.run(NOW + DAY)
    (received,) = world.receiver.received
    verified = verify_webhook(received.body, received.headers, world.secret, now=NOW)
    assert verified.payload["type"] == "webhook.test"
