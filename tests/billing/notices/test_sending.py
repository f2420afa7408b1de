"""Notices are sent once, to people who still manage the account and still want them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from billing_app.billing.alerts.preferences import set_preferences, unsubscribe
from billing_app.billing.notices.sending import mail_notice, purge_notices, queue_notices
from billing_app.billing.notices.writing import NewNotice, write
from billing_app.db.engine import Database
from billing_app.db.enums import MailTopic, NoticeKind
from billing_app.db.tables import Account
from tests.billing.notices.rows import DAY, NOW, Sent, Team, notices, subjects, team
from tests.factories import connect

SITE = "https://billing.test"


@dataclass
class Ground:
    url: str
    database: Database
    sent: Sent

    async def write(self, acme: Team) -> None:
        figures = {"name": "deploy", "hint": "bk_…1", "expires_at": "2026-12-08"}
        notice = NewNotice(NoticeKind.KEY_EXPIRING, "key:1", figures)
        async with self.database.transaction() as session:
            account = await session.get_one(Account, acme.holder.account_number)
            await write(session, account, notice, NOW)

    async def send(self, acme: Team) -> list[str]:
        """The subjects of what was sent so far."""
        await mail_notice(
            self.database,
            self.sent,
            account_id=acme.holder.account_number,
            key="key:1",
            user_id=acme.owner.user_id,
            site=SITE,
            now=NOW,
        )
        return subjects(self.sent.mails)

    async def queued(self, now: datetime) -> int:
        return await queue_notices(self.database, self.sent, now)


@pytest.fixture
async def ground(own_database_url: str) -> AsyncIterator[Ground]:
    database = Database(own_database_url)
    yield Ground(own_database_url, database, Sent())
    await database.dispose()


async def test_notice_is_sent_once_and_says_whose_it_is(ground: Ground) -> None:
    acme = team(ground.url)
    for _ in range(2):
        await ground.write(acme)
    subject = "Acme: The API key deploy expires on 8 December 2026"
    assert [await ground.send(acme) for _ in range(2)] == [[subject]] * 2
    (mail,) = ground.sent.mails
    assert mail.to == acme.owner.email
    assert "You get this because you manage Acme." in mail.text
    assert mail.unsubscribe_url.startswith(f"{SITE}/billing/unsubscribe/")


async def test_link_of_a_notice_unsubscribes(ground: Ground) -> None:
    acme = team(ground.url)
    await ground.write(acme)
    await ground.send(acme)
    token = ground.sent.mails[0].unsubscribe_url.rpartition("/")[2]
    assert await unsubscribe(ground.database, token, NOW)
    with connect(ground.url) as connection:
        connection.execute("UPDATE notices SET sent_at = NULL")
    assert len(await ground.send(acme)) == 1


async def test_who_left_meanwhile_gets_nothing(ground: Ground) -> None:
    acme = team(ground.url)
    await ground.write(acme)
    with connect(ground.url) as connection:
        connection.execute("DELETE FROM memberships WHERE user_id = %s", [acme.owner.user_id])
    assert await ground.send(acme) == []


async def test_who_does_not_want_it_any_more_gets_nothing(ground: Ground) -> None:
    acme = team(ground.url)
    await ground.write(acme)
    topics = {MailTopic.KEYS}
    await set_preferences(ground.database, acme.owner, wants_mail=True, muted=topics, now=NOW)
    assert await ground.send(acme) == []


async def test_notice_is_queued_once_and_again_while_it_cannot_be_sent(ground: Ground) -> None:
    acme = team(ground.url)
    await ground.write(acme)
    assert [await ground.queued(NOW) for _ in range(2)] == [1, 0]
    assert await ground.queued(NOW + DAY / 2) == 1
    assert len({again for *_, again in ground.sent.queued}) == 2
    assert await ground.queued(NOW + 4 * DAY) == 0
    await ground.send(acme)
    assert await ground.queued(NOW + DAY) == 0


async def test_notices_are_kept_for_90_days(ground: Ground) -> None:
    acme = team(ground.url)
    await ground.write(acme)
    assert await purge_notices(ground.database, NOW + 89 * DAY) == 0
    assert await purge_notices(ground.database, NOW + 91 * DAY) == 1
    assert notices(ground.url, acme.holder) == []
