"""Who a customer is: name, e-mail address, billing name and billing email."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts import billing_details
from billing_app.billing.accounts.billing_details import CustomerDetails
from billing_app.billing.accounts.service import ReadOnlyError
from billing_app.billing.actors import StaffActor, UserActor, ViewingActor
from billing_app.billing.errors import (
    AccountNotFoundError,
    BillingError,
    EmailTakenError,
    ForbiddenError,
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
from billing_app.billing.identity.password_hashing import hash_password
from billing_app.billing.identity.password_resets import WrongPasswordError
from billing_app.billing.identity.rate_limits import AttemptLimits
from billing_app.billing.identity.sessions import hash_token
from billing_app.billing.mail import Mail
from billing_app.billing.retention import purge_email_links
from billing_app.composition import Services
from billing_app.db.enums import AccountKind, Role, StaffRole
from billing_app.db.tables import Account, AuditEntry, EmailChange, PasswordReset, User
from tests.factories import (
    OPERATOR,
    PLATFORM_SERVICE,
    Holder,
    connect,
    membership,
    organization,
    person,
    public_organization,
    session_token,
    trial,
)

PASSWORD = "a creature of my own"
SITE = "https://billing.test"


@dataclass
class Outbox:
    """Stands in for the queues and the mail server: what was queued, and the mails it became."""

    services: Services
    mails: list[Mail] = field(default_factory=list[Mail])
    links: list[str] = field(default_factory=list[str])
    told: list[str] = field(default_factory=list[str])
    customers: list[int] = field(default_factory=list[int])

    async def send(self, mail: Mail) -> None:
        self.mails.append(mail)

    async def email_link(self, session: AsyncSession, change_id: str) -> None:
        del session
        self.links.append(change_id)

    async def email_changed(
        self, session: AsyncSession, old_email: str, changed_at: datetime
    ) -> None:
        del session, changed_at
        self.told.append(old_email)

    async def customer_details(self, session: AsyncSession, account_id: int) -> None:
        del session
        self.customers.append(account_id)

    async def password_link(self, session: AsyncSession, email: str) -> None:
        raise NotImplementedError

    async def password_changed(
        self, session: AsyncSession, user_id: str, changed_at: datetime
    ) -> None:
        raise NotImplementedError

    async def mail(self, change_id: str | None = None, now: datetime | None = None) -> str:
        """Mail the newest link, or that of a request; returns its token, "" without a link."""
        await email_links.mail_link(
            self.services.database,
            self,
            change_id=change_id or self.links[-1],
            site=SITE,
            now=now or datetime.now(UTC),
        )
        _, _, token = self.mails[-1].text.partition("/billing/email-links/")
        return token.partition("\n")[0]

    async def confirm(self, token: str, session: str = "", now: datetime | None = None) -> None:
        await email_changes.confirm(
            self.services.database,
            self,
            self,
            token=token,
            session_token=session,
            now=now or datetime.now(UTC),
        )


@pytest.fixture
def outbox(services: Services) -> Outbox:
    return Outbox(services)


@pytest.fixture(scope="session")
async def password_hash() -> str:
    return await hash_password(PASSWORD)


@pytest.fixture
def ada(services: Services, database_url: str, password_hash: str) -> UserActor:
    """Somebody with PASSWORD and a trial."""
    public_organization(database_url)
    return made_person(database_url, password_hash)


def made_person(url: str, password_hash: str) -> UserActor:
    made = person(url)
    with connect(url) as connection:
        connection.execute(
            "UPDATE users SET password_hash = %s WHERE id = %s", [password_hash, made.user_id]
        )
    trial(url, made.user_id, 10)
    return made


def new_address() -> str:
    return f"{ids.new_id('new-')}@example.com"


async def ask(
    outbox: Outbox, who: UserActor, email: str, *, token: str = "", password: str = PASSWORD
) -> None:
    await email_changes.request_email_change(
        outbox.services.database,
        outbox,
        who,
        email=email,
        password=password,
        token=token,
        now=datetime.now(UTC),
    )


async def user_of(outbox: Outbox, who: UserActor) -> User:
    async with outbox.services.database.reading() as session:
        return await session.get_one(User, who.user_id)


async def entries_of(outbox: Outbox, who: UserActor) -> list[AuditEntry]:
    query = select(AuditEntry).where(AuditEntry.actor_id == who.user_id)
    async with outbox.services.database.reading() as session:
        return list((await session.exec(query.order_by(col(AuditEntry.id)))).all())


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


async def results_of(*calls: Awaitable[None]) -> list[str]:
    found = await asyncio.gather(*calls, return_exceptions=True)
    return sorted("" if each is None else type(each).__name__ for each in found)


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


# Billing details


@dataclass(frozen=True, slots=True)
class Firm:
    holder: Holder
    owner: UserActor
    admin: UserActor
    member: UserActor


@pytest.fixture
def firm(database_url: str) -> Firm:
    holder, people = organization(database_url), []
    for role in (Role.OWNER, Role.BILLING_ADMIN, Role.MEMBER):
        people.append(person(database_url, f"The {role}"))
        membership(database_url, holder.organization_id, people[-1].user_id, role)
    return Firm(holder, *people)


async def used(outbox: Outbox, holder: Holder) -> CustomerDetails:
    found = await billing_details.read_details(
        outbox.services.database, OPERATOR, holder.account_id, datetime.now(UTC)
    )
    return found.used


async def set_name(outbox: Outbox, who: Any, holder: Holder, name: str = "Acme Ltd") -> None:
    await billing_details.change_billing_name(
        outbox.services.database, outbox, who, holder.account_id, name=name, now=datetime.now(UTC)
    )


async def ask_billing(outbox: Outbox, who: Any, holder: Holder, email: str = "") -> None:
    await billing_details.request_billing_email(
        outbox.services.database,
        outbox,
        who,
        holder.account_id,
        email=email or new_address(),
        now=datetime.now(UTC),
    )


async def remove(outbox: Outbox, who: Any, holder: Holder) -> None:
    await billing_details.remove_billing_email(
        outbox.services.database, outbox, who, holder.account_id, now=datetime.now(UTC)
    )


async def again(outbox: Outbox, who: Any, holder: Holder) -> None:
    await billing_details.send_billing_link_again(
        outbox.services.database, outbox, who, holder.account_id, datetime.now(UTC)
    )


async def withdraw(outbox: Outbox, who: Any, holder: Holder) -> None:
    await billing_details.withdraw_billing_email(outbox.services.database, who, holder.account_id)


CHANGES = (set_name, ask_billing, remove, again, withdraw)


async def test_details_without_own_ones(outbox: Outbox, firm: Firm, ada: UserActor) -> None:
    assert await used(outbox, firm.holder) == CustomerDetails("Acme", firm.owner.email)
    query = select(Account).where(Account.user_id == ada.user_id)
    async with outbox.services.database.reading() as session:
        account = (await session.exec(query)).one()
    own = Holder(account.organization_id, account.id)
    assert await used(outbox, own) == CustomerDetails("Ada", ada.email)


async def test_oldest_owner_with_an_address_gets_an_organizations_invoices(
    outbox: Outbox, firm: Firm, database_url: str
) -> None:
    older, oldest = person(database_url), person(database_url)
    with connect(database_url) as connection:
        for age, who in ((1, older), (2, oldest)):
            connection.execute(
                "INSERT INTO memberships (organization_id, user_id, role, created_at)"
                " VALUES (%s, %s, 'owner', now() - make_interval(days => %s))",
                [firm.holder.organization_id, who.user_id, age],
            )
        connection.execute(
            "UPDATE users SET email = NULL, password_hash = NULL WHERE id = %s", [oldest.user_id]
        )
    assert (await used(outbox, firm.holder)).email == older.email


async def test_billing_name_and_email_of_their_own(outbox: Outbox, firm: Firm) -> None:
    new = new_address()
    await set_name(outbox, firm.admin, firm.holder, " Acme Ltd ")
    await ask_billing(outbox, firm.admin, firm.holder, new)
    token = await outbox.mail()
    assert await used(outbox, firm.holder) == CustomerDetails("Acme Ltd", firm.owner.email)
    await outbox.confirm(token)
    assert await used(outbox, firm.holder) == CustomerDetails("Acme Ltd", new)
    assert outbox.told == []
    await set_name(outbox, firm.owner, firm.holder, "  ")
    await remove(outbox, firm.owner, firm.holder)
    assert await used(outbox, firm.holder) == CustomerDetails("Acme", firm.owner.email)
    assert outbox.customers == [firm.holder.account_number] * 4
    admins = [(each.action, each.after) for each in await entries_of(outbox, firm.admin)]
    assert admins == [
        ("change_billing_name", {"billing_name": "Acme Ltd"}),
        ("change_billing_email", {"billing_email": new}),
    ]
    owners = [(each.action, each.before) for each in await entries_of(outbox, firm.owner)]
    assert owners == [
        ("change_billing_name", {"billing_name": "Acme Ltd"}),
        ("change_billing_email", {"billing_email": new}),
    ]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("who", ["owner", "admin"])
async def test_who_may_pay_may_change_billing_details(
    outbox: Outbox, firm: Firm, change: Any, who: str
) -> None:
    await ask_billing(outbox, firm.owner, firm.holder)
    await change(outbox, getattr(firm, who), firm.holder)


@pytest.mark.parametrize("change", CHANGES)
async def test_nobody_else_may_change_billing_details(
    outbox: Outbox, firm: Firm, database_url: str, change: Any
) -> None:
    await ask_billing(outbox, firm.owner, firm.holder)
    links, staff = list(outbox.links), StaffActor("usr_staff", "Sam", StaffRole.ADMIN)
    until = datetime.now(UTC) + timedelta(minutes=5)
    number = firm.holder.account_number
    refused: list[tuple[Any, type[BillingError]]] = [
        (firm.member, ForbiddenError),
        (person(database_url), AccountNotFoundError),
        (staff, ForbiddenError),
        (ViewingActor(staff, number, AccountKind.ORGANIZATION, "Acme", until), ReadOnlyError),
        (PLATFORM_SERVICE, ForbiddenError),
        (OPERATOR, ForbiddenError),
    ]
    for actor, error in refused:
        with pytest.raises(error):
            await change(outbox, actor, firm.holder)
    assert (outbox.links, outbox.customers) == (links, [])
    assert await used(outbox, firm.holder) == CustomerDetails("Acme", firm.owner.email)


async def test_members_read_billing_details_and_strangers_do_not(
    outbox: Outbox, firm: Firm, ada: UserActor
) -> None:
    database, now = outbox.services.database, datetime.now(UTC)
    account_id = firm.holder.account_id
    found = await billing_details.read_details(database, firm.member, account_id, now)
    assert found.used.name == "Acme"
    with pytest.raises(AccountNotFoundError):
        await billing_details.read_details(database, ada, account_id, now)


async def test_link_of_somebody_who_may_no_longer_pay_is_void(
    outbox: Outbox, firm: Firm, database_url: str
) -> None:
    await ask_billing(outbox, firm.admin, firm.holder)
    token = await outbox.mail()
    with connect(database_url) as connection:
        connection.execute(
            "UPDATE memberships SET role = 'member' WHERE user_id = %s", [firm.admin.user_id]
        )
    with pytest.raises(EmailLinkExpiredError):
        await outbox.confirm(token)
    assert (await used(outbox, firm.holder)).email == firm.owner.email


async def test_two_accounts_may_share_a_billing_email(
    outbox: Outbox, firm: Firm, ada: UserActor
) -> None:
    await ask_billing(outbox, firm.owner, firm.holder, ada.email)
    await outbox.confirm(await outbox.mail())
    assert (await used(outbox, firm.holder)).email == ada.email


async def test_billing_link_confirmed_at_once_works_once(outbox: Outbox, firm: Firm) -> None:
    await ask_billing(outbox, firm.owner, firm.holder)
    token = await outbox.mail()
    results = await results_of(*[outbox.confirm(token) for _ in range(5)])
    assert results == ["", *["EmailLinkExpiredError"] * 4]
    assert len(await entries_of(outbox, firm.owner)) == 1


async def test_owners_new_address_reaches_the_customers_of_their_organizations(
    outbox: Outbox, firm: Firm, ada: UserActor, database_url: str
) -> None:
    other = organization(database_url)
    membership(database_url, firm.holder.organization_id, ada.user_id, Role.OWNER)
    membership(database_url, other.organization_id, ada.user_id, Role.MEMBER)
    await ask(outbox, ada, new_address())
    await outbox.confirm(await outbox.mail())
    (entry,) = await entries_of(outbox, ada)
    assert set(outbox.customers) == {firm.holder.account_number, entry.account_id}
