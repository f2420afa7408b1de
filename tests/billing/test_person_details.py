"""Who somebody is: their name and email address."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select, update

from billing_app.billing import ids
from billing_app.billing.accounts.service import ReadOnlyError
from billing_app.billing.actors import StaffActor, UserActor, ViewingActor
from billing_app.billing.errors import (
    EmailTakenError,
    InvalidInputError,
    TooManyAttemptsError,
)
from billing_app.billing.identity import email_changes, email_links, password_resets, sessions
from billing_app.billing.identity.email_links import (
    LINK_SUBJECT,
    TAKEN_SUBJECT,
    EmailLinkExpiredError,
    MailNotSetUpError,
)
from billing_app.billing.identity.password_resets import WrongPasswordError
from billing_app.billing.identity.rate_limits import AttemptLimits
from billing_app.billing.identity.sessions import hash_token
from billing_app.billing.retention import purge_email_links
from billing_app.composition import Services
from billing_app.db.enums import AccountKind, StaffRole
from billing_app.db.tables import EmailChange, PasswordReset, User
from tests.billing.email_outbox import (
    PASSWORD,
    SITE,
    Outbox,
    ask,
    entries_of,
    made_person,
    new_address,
    results_of,
    user_of,
)
from tests.factories import (
    connect,
    person,
    session_token,
)


async def change_name(outbox: Outbox, who: Any, name: str) -> None:
    database, now = outbox.services.database, datetime.now(UTC)
    await email_changes.change_name(database, outbox, who, name=name, now=now)


# Names


@pytest.mark.parametrize("name", ["Zoë Ångström", "陳大文", "O'Neil-Łódź", "x" * 255, "👩‍🚀 Ada"])
async def test_name_changes_at_once(outbox: Outbox, ada: UserActor, name: str) -> None:
    await change_name(outbox, ada, f"  {name} ")
    assert (await user_of(outbox, ada)).name == name
    (entry,) = await entries_of(outbox, ada)
    assert (entry.action, entry.role, entry.before, entry.after) == (
        "change_name",
        "customer",
        {"name": "Ada"},
        {"name": name},
    )
    assert outbox.customers == [entry.account_id]
    await change_name(outbox, ada, name)
    assert len(await entries_of(outbox, ada)) == 1


@pytest.mark.parametrize(
    "name", ["", " \t", "\u2003", "\u200b\u200d\ufeff", "a\0b", "a\nb", "\ud800", "x" * 256]
)
async def test_invalid_name_is_refused(outbox: Outbox, ada: UserActor, name: str) -> None:
    with pytest.raises(InvalidInputError):
        await change_name(outbox, ada, name)
    assert (await user_of(outbox, ada)).name == "Ada"


# A person's address


async def test_address_changes_when_it_is_confirmed(
    outbox: Outbox, ada: UserActor, database_url: str
) -> None:
    asking, here, other = (session_token(database_url, ada.user_id) for _ in range(3))
    database, now, new = outbox.services.database, datetime.now(UTC), new_address()
    async with database.transaction() as session:
        row = PasswordReset(
            token_hash=hash_token(ada.user_id),
            user_id=ada.user_id,
            created_at=now,
            expires_at=now + timedelta(hours=1),
        )
        session.add(row)
    await ask(outbox, ada, new, token=asking)
    token = await outbox.mail()
    assert (outbox.mails[-1].to, outbox.mails[-1].subject) == (new, LINK_SUBJECT)
    assert (await user_of(outbox, ada)).email == ada.email
    found = await email_changes.read_person(database, ada, now)
    assert found.pending is not None
    assert found.pending.email == new
    await outbox.confirm(token, here)
    assert (await user_of(outbox, ada)).email == new
    assert outbox.told == [ada.email]
    for each, is_live in ((asking, True), (here, True), (other, False)):
        assert (await sessions.authenticate(database, each, now) is not None) is is_live
    assert await password_resets.find_link(database, ada.user_id, now) is None
    assert (await email_changes.read_person(database, ada, now)).pending is None
    (entry,) = await entries_of(outbox, ada)
    assert (entry.action, entry.before, entry.after) == (
        "change_email",
        {"email": ada.email},
        {"email": new},
    )
    assert outbox.customers == [entry.account_id]


async def test_only_the_hash_of_the_link_is_stored(
    outbox: Outbox, ada: UserActor, database_url: str
) -> None:
    await ask(outbox, ada, new_address())
    token = await outbox.mail()
    with connect(database_url) as connection:
        rows = connection.execute("SELECT t::text FROM email_changes AS t").fetchall()
    assert not any(token in row[0] for row in rows)
    assert any(hash_token(token).hex() in row[0] for row in rows)


async def test_change_requires_the_password(outbox: Outbox, ada: UserActor) -> None:
    with pytest.raises(WrongPasswordError):
        await ask(outbox, ada, new_address(), password="not this one")
    assert outbox.links == []


@pytest.mark.parametrize("email", ["", "x", "a@b.c\r\nBcc: d@e.fg", "a,b@example.com"])
async def test_invalid_address_is_refused(outbox: Outbox, ada: UserActor, email: str) -> None:
    with pytest.raises(InvalidInputError):
        await ask(outbox, ada, email)


async def test_address_of_254_characters(outbox: Outbox, ada: UserActor) -> None:
    domain = ".".join(["d" * 63, "e" * 63, ids.new_id("f") + "f" * 40, "com"])
    email = f"{'l' * (253 - len(domain))}@{domain}"
    assert len(email) == 254
    await ask(outbox, ada, email)
    await outbox.confirm(await outbox.mail())
    assert (await user_of(outbox, ada)).email == email


async def test_letter_case_of_the_own_address_can_change(outbox: Outbox, ada: UserActor) -> None:
    with pytest.raises(InvalidInputError):
        await ask(outbox, ada, ada.email)
    await ask(outbox, ada, ada.email.upper())
    await outbox.confirm(await outbox.mail())
    assert (await user_of(outbox, ada)).email == ada.email.upper()


async def test_taken_address_looks_free_and_its_owner_is_told(
    outbox: Outbox, ada: UserActor, database_url: str
) -> None:
    taken = person(database_url).email.upper()
    await ask(outbox, ada, taken)
    token = await outbox.mail()
    assert (token, outbox.mails[-1].to, outbox.mails[-1].subject) == ("", taken, TAKEN_SUBJECT)
    now = datetime.now(UTC)
    found = await email_changes.read_person(outbox.services.database, ada, now)
    assert found.pending is not None
    assert found.pending.email == taken


async def test_address_taken_before_it_is_confirmed(
    outbox: Outbox, ada: UserActor, database_url: str, password_hash: str
) -> None:
    bob, new = made_person(database_url, password_hash), new_address()
    await ask(outbox, ada, new)
    first = await outbox.mail()
    await ask(outbox, bob, new.upper())
    await outbox.confirm(await outbox.mail())
    with pytest.raises(EmailTakenError):
        await outbox.confirm(first)
    assert (await user_of(outbox, ada)).email == ada.email
    assert await entries_of(outbox, ada) == []


async def test_two_people_confirm_one_address_at_once(
    outbox: Outbox, ada: UserActor, database_url: str, password_hash: str
) -> None:
    people = [ada, *(made_person(database_url, password_hash) for _ in range(3))]
    new, tokens = new_address(), []
    for who in people:
        await ask(outbox, who, new)
        tokens.append(await outbox.mail())
    results = await results_of(*[outbox.confirm(token) for token in tokens])
    assert results == ["", *["EmailTakenError"] * 3]
    assert [(await user_of(outbox, who)).email for who in people].count(new) == 1


async def test_link_confirmed_at_once_works_once(outbox: Outbox, ada: UserActor) -> None:
    await ask(outbox, ada, new_address())
    token = await outbox.mail()
    results = await results_of(*[outbox.confirm(token) for _ in range(5)])
    assert results == ["", *["EmailLinkExpiredError"] * 4]
    assert (len(outbox.told), len(await entries_of(outbox, ada))) == (1, 1)


async def _expires(outbox: Outbox, _ada: UserActor) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    change = update(EmailChange).where(col(EmailChange.id) == outbox.links[-1])
    async with outbox.services.database.transaction() as session:
        await session.exec(change.values(expires_at=past))


async def _is_used(outbox: Outbox, _ada: UserActor) -> None:
    _, _, token = outbox.mails[-1].text.partition("/billing/email-links/")
    await outbox.confirm(token.partition("\n")[0])


async def _is_withdrawn(outbox: Outbox, ada: UserActor) -> None:
    await email_changes.withdraw_email_change(outbox.services.database, ada)


async def _is_replaced(outbox: Outbox, ada: UserActor) -> None:
    await ask(outbox, ada, new_address())


async def _is_sent_again(outbox: Outbox, ada: UserActor) -> None:
    await email_changes.send_link_again(outbox.services.database, outbox, ada, datetime.now(UTC))


async def _password_changes(outbox: Outbox, ada: UserActor) -> None:
    await password_resets.change_password(
        outbox.services.database,
        None,
        ada,
        current=PASSWORD,
        password="a better one than that",
        token="",
        now=datetime.now(UTC),
    )


@pytest.mark.parametrize(
    "happens",
    [_expires, _is_used, _is_withdrawn, _is_replaced, _is_sent_again, _password_changes],
)
async def test_void_link(
    outbox: Outbox, ada: UserActor, happens: Callable[[Outbox, UserActor], Awaitable[None]]
) -> None:
    await ask(outbox, ada, new_address())
    token = await outbox.mail()
    await happens(outbox, ada)
    before, entries = (await user_of(outbox, ada)).email, await entries_of(outbox, ada)
    with pytest.raises(EmailLinkExpiredError):
        await outbox.confirm(token)
    assert await email_links.find_link(outbox.services.database, token, datetime.now(UTC)) is None
    assert (await user_of(outbox, ada)).email == before
    assert len(await entries_of(outbox, ada)) == len(entries)


@pytest.mark.parametrize("token", ["", "x", "\U0001f4b8", "a" * 5_000])
async def test_unknown_link(outbox: Outbox, token: str) -> None:
    with pytest.raises(EmailLinkExpiredError):
        await outbox.confirm(token)


async def test_voided_request_gets_no_mail(outbox: Outbox, ada: UserActor) -> None:
    await ask(outbox, ada, new_address())
    await _is_sent_again(outbox, ada)
    first, second = outbox.links
    await email_links.mail_link(
        outbox.services.database, outbox, change_id=first, site=SITE, now=datetime.now(UTC)
    )
    assert outbox.mails == []
    await outbox.confirm(await outbox.mail(second))


async def test_nothing_waits_to_be_sent_again(outbox: Outbox, ada: UserActor) -> None:
    with pytest.raises(EmailLinkExpiredError):
        await _is_sent_again(outbox, ada)


async def test_unconfirmed_addresses_are_forgotten(outbox: Outbox, ada: UserActor) -> None:
    await ask(outbox, ada, new_address())
    await _expires(outbox, ada)
    assert await purge_email_links(outbox.services.database, now=datetime.now(UTC)) >= 1


async def test_site_without_mail_says_so(outbox: Outbox, ada: UserActor) -> None:
    database, now = outbox.services.database, datetime.now(UTC)
    with pytest.raises(MailNotSetUpError):
        await email_changes.request_email_change(
            database, None, ada, email=new_address(), password=PASSWORD, token="", now=now
        )


async def test_password_link_is_not_mailed_to_an_address_that_changes_meanwhile(
    outbox: Outbox, ada: UserActor
) -> None:
    database, now = outbox.services.database, datetime.now(UTC)
    async with database.transaction() as session:
        user = await session.get_one(User, ada.user_id, with_for_update=True)
        mailing = asyncio.create_task(
            password_resets.mail_link(database, outbox, email=ada.email, site=SITE, now=now)
        )
        await asyncio.sleep(0.3)
        user.email = new_address()
        session.add(user)
    await mailing
    assert outbox.mails == []
    query = select(PasswordReset).where(PasswordReset.user_id == ada.user_id)
    async with database.reading() as session:
        assert (await session.exec(query)).first() is None


async def test_links_are_limited_by_person_and_by_address(services: Services) -> None:
    limits, new, now = AttemptLimits(services.database), new_address(), datetime.now(UTC)
    for number in range(5):
        await limits.check_email_link("usr_ada", f"{number}{new}", "10.0.0.1", now)
    with pytest.raises(TooManyAttemptsError):
        await limits.check_email_link("usr_ada", f"6{new}", "10.0.0.2", now)
    for number in range(5):
        await limits.check_email_link(f"usr_{number}", new, "10.0.0.3", now)
    with pytest.raises(TooManyAttemptsError):
        await limits.check_email_link("usr_bob", new, "10.0.0.4", now)


async def test_staff_who_view_an_account_change_nothing(outbox: Outbox) -> None:
    staff = StaffActor("usr_staff", "Sam", StaffRole.ADMIN)
    until = datetime.now(UTC) + timedelta(minutes=5)
    viewing = ViewingActor(staff, 1, AccountKind.USER, "Ada", until)
    with pytest.raises(ReadOnlyError):
        await change_name(outbox, viewing, "Eve")
    with pytest.raises(ReadOnlyError):
        await email_changes.withdraw_email_change(outbox.services.database, viewing)
