"""Billing name and billing email of an account, and who may change them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from billing_app.billing.accounts import billing_details
from billing_app.billing.accounts.billing_details import CustomerDetails
from billing_app.billing.accounts.service import ReadOnlyError
from billing_app.billing.actors import StaffActor, UserActor, ViewingActor
from billing_app.billing.errors import (
    AccountNotFoundError,
    BillingError,
    ForbiddenError,
    InvalidInputError,
)
from billing_app.billing.identity.email_links import (
    EmailLinkExpiredError,
)
from billing_app.db.enums import AccountKind, Role, StaffRole
from billing_app.db.tables import Account
from tests.billing.email_outbox import Outbox, ask, entries_of, new_address, results_of
from tests.factories import (
    OPERATOR,
    PLATFORM_SERVICE,
    Holder,
    connect,
    membership,
    organization,
    person,
)


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


async def set_order(outbox: Outbox, who: Any, holder: Holder, number: str = "PO 4711/7") -> None:
    await billing_details.change_purchase_order(
        outbox.services.database,
        outbox,
        who,
        holder.account_id,
        purchase_order=number,
        now=datetime.now(UTC),
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


CHANGES = (set_name, set_order, ask_billing, remove, again, withdraw)


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


async def test_purchase_order_is_set_and_removed(outbox: Outbox, firm: Firm) -> None:
    assert (await used(outbox, firm.holder)).purchase_order is None
    await set_order(outbox, firm.admin, firm.holder, " ")
    assert (await used(outbox, firm.holder)).purchase_order is None
    for _ in range(2):
        await set_order(outbox, firm.admin, firm.holder, "  PO 4711/7 ")
    assert (await used(outbox, firm.holder)).purchase_order == "PO 4711/7"
    await set_order(outbox, firm.admin, firm.holder, "")
    assert (await used(outbox, firm.holder)).purchase_order == ""
    assert outbox.customers == [firm.holder.account_number] * 2
    entries = await entries_of(outbox, firm.admin)
    assert [(each.action, each.after) for each in entries] == [
        ("change_purchase_order", {"purchase_order": "PO 4711/7"}),
        ("change_purchase_order", {"purchase_order": ""}),
    ]


@pytest.mark.parametrize("number", ["x" * 141, "a\0b", "a\nb", "\ud800", "\u200b"])
async def test_invalid_purchase_order_is_refused(outbox: Outbox, firm: Firm, number: str) -> None:
    with pytest.raises(InvalidInputError):
        await set_order(outbox, firm.owner, firm.holder, number)
    assert (await used(outbox, firm.holder)).purchase_order is None


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
