"""Rules, lists, the bell and deliveries, as people and services use them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor, ServiceActor, UserActor
from billing_app.billing.alerts import delivery, mails, preferences, rule_settings, service
from billing_app.billing.alerts.noticing import count_given_back, note_refusals
from billing_app.billing.alerts.preferences import unsubscribe_token
from billing_app.billing.alerts.raising import NewAlert, raise_alert
from billing_app.billing.alerts.retention import purge_alerts
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.rules import MAX_RULES, Rule
from billing_app.billing.errors import (
    AccountNotFoundError,
    ForbiddenError,
    InvalidInputError,
    ScopeMissingError,
)
from billing_app.billing.mail import Mail
from billing_app.composition import Services
from billing_app.db.enums import AlertKind, Scope, StaffRole
from billing_app.db.tables import AlertPreferences
from tests.billing.alerts.rows import NUMBER, SHARE, alerts, events, own_rules
from tests.factories import (
    Holder,
    connect,
    membership,
    organization,
    person,
    public_organization,
    staff_member,
    trial,
)

NOW: Final = datetime.now(UTC)
REFUSED: Final = Rule(AlertKind.EXECUTION_REFUSED)
LOW: Final = Rule(SHARE, 20)
FIGURES: Final = {"threshold": 20, "executions_left": 2, "executions_total": 10}
KEY: Final = ServiceActor(1, frozenset({Scope.ALERTS}), None)


class MailJobs:
    """Implements AlertQueue."""

    def __init__(self) -> None:
        self.queued: list[tuple[int, int, str]] = []

    async def alert(
        self, session: AsyncSession, account_id: int, number: int, user_id: str, again: str = ""
    ) -> None:
        self.queued.append((account_id, number, user_id))


class Post:
    """Implements Mailer."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []

    async def send(self, mail: Mail) -> None:
        self.sent.append(mail)


async def raised(services: Services, holder: Holder, rule: Rule = LOW, **more: Any) -> int:
    alert = NewAlert(holder.account_number, rule, **{"occasion": "1", "figures": FIGURES, **more})
    async with services.database.transaction() as session:
        assert await raise_alert(session, alert, NOW)
    with connect(services.database.url) as connection:
        row = connection.execute(
            "SELECT max(number) FROM alerts WHERE account_id = %s", [holder.account_number]
        ).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture
def holder(database_url: str) -> Holder:
    return organization(database_url, 10)


@pytest.fixture
def owner(database_url: str, holder: Holder) -> UserActor:
    user = person(database_url)
    membership(database_url, holder.organization_id, user.user_id, "owner")
    return user


async def test_owners_and_billing_admins_are_told_once(
    services: Services, database_url: str, holder: Holder, owner: UserActor
) -> None:
    admin, member = person(database_url), person(database_url)
    membership(database_url, holder.organization_id, admin.user_id, "billing_admin")
    membership(database_url, holder.organization_id, member.user_id)
    number = await raised(services, holder)
    jobs = MailJobs()
    await asyncio.gather(*[delivery.deliver(services.database, jobs, NOW) for _ in range(4)])
    told = {(holder.account_number, number, each.user_id) for each in (owner, admin)}
    ours = [each for each in jobs.queued if each[0] == holder.account_number]
    assert len(ours) == 2
    assert set(ours) == told
    for user, count in ((owner, 1), (admin, 1), (member, 0)):
        assert await service.count_unread(services.database, user) == count
        assert len(await service.list_bell(services.database, user)) == count
    assert [row[0] for row in events(database_url, holder)] == ["alert.raised"]
    data = events(database_url, holder)[0][1]["alert"]
    assert (data["headline"], data["detail"]) == (
        "2 executions left",
        "2 of 10 executions are left.",
    )


async def test_holder_of_a_trial_is_told(services: Services, database_url: str) -> None:
    public_organization(database_url)
    user = person(database_url)
    holder = trial(database_url, user.user_id, 10)
    await raised(services, holder)
    await delivery.deliver(services.database, MailJobs(), NOW)
    assert await service.count_unread(services.database, user) == 1


async def test_bell_is_read_once_for_each_person(
    services: Services, database_url: str, holder: Holder, owner: UserActor
) -> None:
    other = person(database_url)
    membership(database_url, holder.organization_id, other.user_id, "owner")
    await raised(services, holder)
    await raised(services, holder, occasion="2")
    await delivery.deliver(services.database, None, NOW)
    newest, _ = await service.list_bell(services.database, owner)
    await service.mark_read(services.database, owner, NOW, [newest.id, "alr_x", "evt_1"])
    assert await service.count_unread(services.database, owner) == 1
    assert await service.count_unread(services.database, other) == 2
    page = await service.list_alerts(services.database, owner, holder.account_id)
    assert [each.read_at for each in page.items] == [NOW, None]
    await service.mark_read(services.database, owner, NOW)
    assert await service.count_unread(services.database, owner) == 0


async def test_list_is_paged_newest_first(services: Services, holder: Holder) -> None:
    numbers = [await raised(services, holder, occasion=str(n)) for n in range(5)]
    assert numbers == sorted(set(numbers))
    found, cursor = list[str](), None
    while True:
        page = await service.list_alerts(
            services.database, KEY, holder.account_id, limit=2, cursor=cursor
        )
        found += [each.id for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == sorted(found, reverse=True)
    assert len(found) == 5


async def test_mail_is_sent_once_and_ends_with_one_click(
    services: Services, holder: Holder, owner: UserActor
) -> None:
    number, post = await raised(services, holder), Post()
    await delivery.deliver(services.database, MailJobs(), NOW)

    async def send() -> None:
        await mails.mail_alert(
            services.database,
            post,
            account_id=holder.account_number,
            number=number,
            user_id=owner.user_id,
            site="https://billing.test",
            now=NOW,
        )

    await send()
    await send()
    (mail,) = post.sent
    assert (mail.to, mail.subject) == (owner.email, "Acme: 2 executions left")
    async with services.database.reading() as session:
        row = await session.get_one(AlertPreferences, owner.user_id)
        token = unsubscribe_token(row)
    assert not await preferences.unsubscribe(services.database, f"{token}0", NOW)
    for wrong in ("", "x", ".", token.partition(".")[0], "é.1", "AA.1"):
        assert not await preferences.unsubscribe(services.database, wrong, NOW)
    for _ in range(2):
        assert await preferences.unsubscribe(services.database, token, NOW)
    assert not (await preferences.read_preferences(services.database, owner)).wants_mail
    await raised(services, holder, occasion="2")
    jobs = MailJobs()
    await delivery.deliver(services.database, jobs, NOW)
    assert [each for each in jobs.queued if each[0] == holder.account_number] == []
    assert await service.count_unread(services.database, owner) == 2


async def test_muted_kinds_come_in_the_app_only(
    services: Services, holder: Holder, owner: UserActor
) -> None:
    kept = await preferences.set_preferences(
        services.database, owner, wants_mail=True, muted=[AlertKind.REMAINING_SHARE], now=NOW
    )
    assert kept == await preferences.read_preferences(services.database, owner)
    await raised(services, holder)
    await raised(services, holder, Rule(AlertKind.ERROR_LOOP, 5), figures={"times": 7})
    jobs = MailJobs()
    await delivery.deliver(services.database, jobs, NOW)
    assert len([each for each in jobs.queued if each[0] == holder.account_number]) == 1


async def test_unsent_mail_is_queued_again(
    services: Services, holder: Holder, owner: UserActor
) -> None:
    await raised(services, holder)
    await delivery.deliver(services.database, MailJobs(), NOW)
    for hours, count in ((0, 0), (2, 1), (24 * 4, 0)):
        jobs = MailJobs()
        at = NOW + timedelta(hours=hours)
        await delivery.queue_unsent(services.database, jobs, at)
        assert len([each for each in jobs.queued if each[0] == holder.account_number]) == count


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(SHARE, 0), "value must be from 1 to 99"),
        (Rule(SHARE, 101), "value must be from 1 to 99 .percent of the executions., not 101"),
        (Rule(SHARE, -1), "from 1 to 99"),
        (Rule(NUMBER, -1), "executions left"),
        (Rule(NUMBER, 10**13), "executions left"),
        (Rule(AlertKind.OVERAGE_SPENT, 5), "needs a currency"),
        (Rule(AlertKind.OVERAGE_SPENT, 5, "XXX"), "needs a currency"),
        (Rule(SHARE, 5, "EUR"), "has no currency"),
        (Rule(AlertKind.PAYMENT_FAILED, 5), "has no value"),
        (Rule(AlertKind.ERROR_LOOP, 1), "from 2"),
    ],
)
async def test_impossible_rule_is_refused_with_the_reason(
    services: Services, holder: Holder, owner: UserActor, rule: Rule, words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        await rule_settings.set_rules(services.database, owner, holder.account_id, [rule], NOW)


async def test_own_rules_replace_the_defaults_until_they_are_removed(
    services: Services, holder: Holder, owner: UserActor
) -> None:
    database = services.database
    before = await rule_settings.read_rules(database, owner, holder.account_id, NOW)
    assert not before.is_own
    view = await rule_settings.set_rules(database, owner, holder.account_id, [LOW, LOW], NOW)
    assert (view.is_own, view.rules) == (True, (LOW,))
    book = RuleBook(database)
    await book.read()
    own = book.own(holder.account_number)
    assert own is not None
    assert own.rules == (LOW,)
    assert (await rule_settings.set_rules(database, owner, holder.account_id, [], NOW)).is_own
    await book.read()
    assert book.rules_of(holder.account_number, None).rules == ()
    view = await rule_settings.set_rules(database, owner, holder.account_id, None, NOW)
    assert (view.is_own, view.rules) == (False, before.defaults)
    await book.read()
    assert book.own(holder.account_number) is None


async def test_too_many_rules_are_refused(
    services: Services, holder: Holder, owner: UserActor
) -> None:
    rules = [Rule(NUMBER, n) for n in range(MAX_RULES + 1)]
    with pytest.raises(InvalidInputError, match="At most"):
        await rule_settings.set_rules(services.database, owner, holder.account_id, rules, NOW)


async def test_only_those_who_may_see_alerts_and_set_rules(
    services: Services, database_url: str, holder: Holder
) -> None:
    database, account = services.database, holder.account_id
    member, stranger = person(database_url), person(database_url)
    membership(database_url, holder.organization_id, member.user_id)
    other = organization(database_url, 1)
    strangers: list[tuple[Actor, type[Exception]]] = [
        (stranger, AccountNotFoundError),
        (ServiceActor(1, frozenset({Scope.EXECUTIONS}), None), ScopeMissingError),
        (ServiceActor(1, frozenset({Scope.ALERTS}), other.organization_id), AccountNotFoundError),
    ]
    for actor, error in strangers:
        with pytest.raises(error):
            await service.list_alerts(database, actor, account)
        with pytest.raises(error):
            await rule_settings.read_rules(database, actor, account, NOW)
        with pytest.raises(error):
            await rule_settings.set_rules(database, actor, account, [LOW], NOW)
    assert (await service.list_alerts(database, member, account)).items == []
    with pytest.raises(ForbiddenError):
        await rule_settings.set_rules(database, member, account, [LOW], NOW)
    staff = staff_member(database_url, StaffRole.ADMIN)
    with pytest.raises(ForbiddenError):
        await rule_settings.set_rules(database, staff, account, [LOW], NOW)
    assert (await rule_settings.set_rules(database, KEY, account, [LOW], NOW)).is_own


async def test_first_refusal_of_a_reason_is_an_event_each_hour_and_an_alert_each_day(
    services: Services, database_url: str, holder: Holder
) -> None:
    own_rules(database_url, holder, REFUSED)
    day = datetime(2026, 5, 4, 10, 59, tzinfo=UTC)
    reasons = ("insufficient_executions", "plan_paused")
    for at in (day, day, day + timedelta(hours=1), day + timedelta(days=1)):
        refusals = [(holder.account_number, reason) for reason in reasons]
        await asyncio.gather(*[note_refusals(services.database, refusals, at) for _ in range(2)])
    found = [row[1]["reason"] for row in events(database_url, holder)]
    assert sorted(found) == sorted(reasons * 3)
    assert sorted(rule for rule, _, _ in alerts(database_url, holder)) == sorted(
        f"execution_refused:{reason}" for reason in reasons * 2
    )


async def test_error_loop_counts_all_processes_in_a_minute(
    services: Services, database_url: str, holder: Holder
) -> None:
    own_rules(database_url, holder, Rule(AlertKind.ERROR_LOOP, 10))
    at = datetime(2026, 5, 4, 10, 59, 30, tzinfo=UTC)
    counts = {holder.account_number: 3}
    for _ in range(3):
        await count_given_back(services.database, counts, at)
    await count_given_back(services.database, counts, at + timedelta(seconds=30))
    assert alerts(database_url, holder) == []
    await asyncio.gather(*[count_given_back(services.database, counts, at) for _ in range(4)])
    ((rule, figures, _),) = alerts(database_url, holder)
    assert rule == "error_loop:10"
    assert figures["times"] >= 10


async def test_alerts_are_kept_for_90_days(
    services: Services, database_url: str, holder: Holder, owner: UserActor
) -> None:
    await raised(services, holder)
    await delivery.deliver(services.database, None, NOW)
    with connect(database_url) as connection:
        connection.execute(
            "UPDATE alerts SET raised_at = %s WHERE account_id = %s",
            [NOW - timedelta(days=89, hours=23), holder.account_number],
        )
    await purge_alerts(services.database, NOW)
    assert len(alerts(database_url, holder)) == 1
    await purge_alerts(services.database, NOW + timedelta(hours=2))
    assert alerts(database_url, holder) == []
    assert await service.list_bell(services.database, owner) == []
