"""Invitations: once, for a week, for one address, from those who may."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from billing_app.billing.accounts.invitation_links import (
    InvitationExpiredError,
    OtherAddressError,
    accept,
    decline,
    find_invitation,
    invitation_of_link,
    mail_invitation,
)
from billing_app.billing.accounts.invitations import (
    LASTS,
    MAX_OPEN,
    AlreadyMemberError,
    InvitationNotFoundError,
    TooManyInvitationsError,
    invite,
    list_invitations,
    offer_ownership,
    send_again,
    withdraw_invitation,
)
from billing_app.billing.accounts.members import (
    LastOwnerError,
    PersonalAccountError,
    change_role,
    leave,
    remove_member,
)
from billing_app.billing.actors import PortalActor, UserActor
from billing_app.billing.errors import (
    AccountNotFoundError,
    BillingError,
    ForbiddenError,
    InvalidInputError,
)
from billing_app.billing.identity.email_links import MailNotSetUpError
from billing_app.billing.identity.tokens import hash_token
from billing_app.billing.retention import INVITATION_DAYS, purge_invitations
from billing_app.composition import Services
from billing_app.db.enums import Role
from billing_app.db.tables import User
from tests.billing.email_outbox import Outbox
from tests.billing.test_members import join, now, roles
from tests.factories import Holder, connect, organization, person, trial

SITE = "https://billing.test"


class House:
    """An organization with its owner, and what is mailed for it."""

    def __init__(self, services: Services) -> None:
        self.services, self.database = services, services.database
        self.outbox = Outbox(services)
        self.holder: Holder = organization(services.database.url)
        self.owner = join(services, self.holder, Role.OWNER, "Grace")

    async def invite(
        self, email: str, role: Role = Role.MEMBER, by: UserActor | None = None
    ) -> None:
        await invite(
            self.database,
            self.outbox,
            by or self.owner,
            self.holder.account_id,
            email=email,
            role=role,
            now=now(),
        )

    async def mailed(self, number: int = -1, at: datetime | None = None) -> str:
        """The token of an invitation that was queued; "" when it was not mailed."""
        before = len(self.outbox.mails)
        invitation_id = self.outbox.links[number]
        await mail_invitation(
            self.database, self.outbox, invitation_id=invitation_id, site=SITE, now=at or now()
        )
        if len(self.outbox.mails) == before:
            return ""
        _, _, rest = self.outbox.mails[-1].text.partition("/billing/invitations/")
        return rest.partition("\n")[0]


@pytest.fixture
def house(services: Services) -> House:
    return House(services)


def another(house: House, name: str = "Ada") -> UserActor:
    return person(house.database.url, name)


async def test_invited_person_joins_once(house: House) -> None:
    ada = another(house)
    await house.invite(ada.email.upper(), Role.BILLING_ADMIN)
    token = await house.mailed()
    mail = house.outbox.mails[-1]
    assert mail.subject == "Grace invited you to Acme"
    assert "as a billing admin" in mail.text
    link = await find_invitation(house.database, token, now())
    assert link is not None
    assert link == hash_token(token).hex()
    invited = await invitation_of_link(house.database, link, now())
    assert invited is not None
    assert (invited.organization, invited.invited_by, invited.role) == (
        "Acme",
        "Grace",
        Role.BILLING_ADMIN,
    )
    assert await accept(house.database, ada, token, now()) == house.holder.account_id
    assert roles(house.services, house.holder)[ada.user_id] == "billing_admin"
    async with house.database.reading() as session:
        user = (await session.exec(select(User).where(User.id == ada.user_id))).one()
    assert user.email_confirmed_at is not None
    for act in (accept(house.database, ada, token, now()), decline(house.database, token, now())):
        with pytest.raises(InvitationExpiredError):
            await act


async def test_two_people_with_one_invitation(house: House) -> None:
    """It is for one address; the same person in two tabs joins once."""
    ada, eve = another(house), another(house, "Eve")
    await house.invite(ada.email)
    token = await house.mailed()
    with pytest.raises(OtherAddressError, match="It is for"):
        await accept(house.database, eve, token, now())
    portal = PortalActor("p", "P", ada.email, 1, Role.OWNER, "https://app.example")
    with pytest.raises(ForbiddenError):
        await accept(house.database, portal, token, now())
    outcomes = await asyncio.gather(
        *(accept(house.database, ada, token, now()) for _ in range(3)), return_exceptions=True
    )
    joined = [each for each in outcomes if each == house.holder.account_id]
    refused = [each for each in outcomes if isinstance(each, InvitationExpiredError)]
    assert (len(joined), len(refused)) == (1, 2)
    assert eve.user_id not in roles(house.services, house.holder)


async def test_links_end(house: House) -> None:
    ada = another(house)
    database, account_id = house.database, house.holder.account_id
    await house.invite(ada.email)
    first = await house.mailed()
    await send_again(database, house.outbox, house.owner, account_id, house.outbox.links[-1], now())
    second = await house.mailed()
    await house.invite(ada.email, Role.BILLING_ADMIN)
    third = await house.mailed()
    assert await house.mailed(0) == ""
    for token in (first, second):
        assert await find_invitation(database, token, now()) is None
        with pytest.raises(InvitationExpiredError):
            await accept(database, ada, token, now())
    with pytest.raises(InvitationExpiredError):
        await accept(database, ada, third, now() + LASTS)
    (listed,) = await list_invitations(database, house.owner, account_id, now() + LASTS)
    assert listed.has_expired
    await withdraw_invitation(database, house.owner, account_id, listed.id, now())
    with pytest.raises(InvitationExpiredError):
        await accept(database, ada, third, now())
    with pytest.raises(InvitationNotFoundError):
        await withdraw_invitation(database, house.owner, account_id, listed.id, now())
    assert await house.mailed() == ""


async def test_expired_one_is_sent_again_and_removed_in_the_end(house: House) -> None:
    await house.invite("later@example.com")
    late = now() + LASTS + timedelta(days=1)
    database, account_id = house.database, house.holder.account_id
    await send_again(database, house.outbox, house.owner, account_id, house.outbox.links[-1], late)
    token = await house.mailed(at=late)
    assert await find_invitation(database, token, late + LASTS / 2)
    await purge_invitations(database, now=late + LASTS + timedelta(days=INVITATION_DAYS - 1))
    assert len(await list_invitations(database, house.owner, account_id, late)) == 1
    await purge_invitations(database, now=late + LASTS + timedelta(days=INVITATION_DAYS + 1))
    assert await list_invitations(database, house.owner, account_id, late) == []


async def test_member_keeps_the_role_that_may_do_more(house: House) -> None:
    ada = another(house)
    await house.invite(ada.email, Role.MEMBER)
    token = await house.mailed()
    with connect(house.database.url) as connection:
        connection.execute(
            "INSERT INTO memberships VALUES (%s, %s, 'owner', now())",
            [house.holder.organization_id, ada.user_id],
        )
    await accept(house.database, ada, token, now())
    assert roles(house.services, house.holder)[ada.user_id] == "owner"


@pytest.mark.parametrize("own", [*Role, None])
@pytest.mark.parametrize("role", list(Role))
async def test_who_may_invite(house: House, own: Role | None, role: Role) -> None:
    actor = join(house.services, house.holder, own) if own else another(house)
    may = own is Role.OWNER or (own is Role.BILLING_ADMIN and role is not Role.OWNER)
    if may:
        await house.invite("new@example.com", role, by=actor)
        token = await house.mailed()
        assert token
        return
    refusal = AccountNotFoundError if own is None else ForbiddenError
    await house.invite("known@example.com", role)
    database, account_id = house.database, house.holder.account_id
    known = house.outbox.links[-1]
    acts = [
        house.invite("new@example.com", role, by=actor),
        send_again(database, house.outbox, actor, account_id, known, now()),
        withdraw_invitation(database, actor, account_id, known, now()),
        offer_ownership(
            database, house.outbox, actor, account_id, user_id=house.owner.user_id, now=now()
        ),
    ]
    if own is not Role.BILLING_ADMIN:
        acts.append(_listing(house, actor))
    for act in acts:
        with pytest.raises(refusal):
            await act


async def _listing(house: House, actor: UserActor) -> None:
    await list_invitations(house.database, actor, house.holder.account_id, now())


async def test_bad_invitations(house: House) -> None:
    member = join(house.services, house.holder, Role.MEMBER)
    refused: tuple[tuple[str, type[BillingError]], ...] = (
        ("nobody", InvalidInputError),
        ("", InvalidInputError),
        (f"{'a' * 65}@example.com", InvalidInputError),
        (member.email, AlreadyMemberError),
        (house.owner.email.upper(), AlreadyMemberError),
    )
    for email, refusal in refused:
        with pytest.raises(refusal):
            await house.invite(email)
    long = f"{'a' * 64}@{'b' * 61}.{'c' * 61}.{'d' * 61}.com"
    assert len(long) == 254
    await house.invite(long)
    with pytest.raises(MailNotSetUpError):
        await invite(
            house.database,
            None,
            house.owner,
            house.holder.account_id,
            email="x@example.com",
            role=Role.MEMBER,
            now=now(),
        )
    ada = another(house)
    own = trial(house.database.url, ada.user_id, 5)
    with pytest.raises(PersonalAccountError):
        await invite(
            house.database,
            house.outbox,
            ada,
            own.account_id,
            email="x@example.com",
            role=Role.MEMBER,
            now=now(),
        )


async def test_not_more_than_can_be_looked_after(house: House) -> None:
    with connect(house.database.url) as connection:
        connection.execute(
            "INSERT INTO invitations (id, organization_id, email, role, invited_by, created_at,"
            " expires_at) SELECT %s || n, %s, n || '@example.com', 'member', %s, now(),"
            " now() + interval '1 day' FROM generate_series(1, %s) AS n",
            [
                house.holder.organization_id,
                house.holder.organization_id,
                house.owner.user_id,
                MAX_OPEN,
            ],
        )
    with pytest.raises(TooManyInvitationsError):
        await house.invite("one-more@example.com")
    await house.invite("7@example.com", Role.BILLING_ADMIN)


async def test_ownership_is_handed_over_once_both_agree(house: House) -> None:
    ada = join(house.services, house.holder, Role.MEMBER)
    database, account_id = house.database, house.holder.account_id
    await offer_ownership(
        database, house.outbox, house.owner, account_id, user_id=ada.user_id, now=now()
    )
    token = await house.mailed()
    assert house.outbox.mails[-1].subject == "Take over Acme?"
    assert roles(house.services, house.holder)[ada.user_id] == "member"
    with pytest.raises(LastOwnerError):
        await leave(database, house.owner, account_id, now())
    await accept(database, ada, token, now())
    assert roles(house.services, house.holder) == {
        ada.user_id: "owner",
        house.owner.user_id: "billing_admin",
    }
    await leave(database, house.owner, account_id, now())


async def test_offer_of_ownership_ends_with_either_of_them(house: House) -> None:
    database, account_id = house.database, house.holder.account_id
    ada = join(house.services, house.holder, Role.MEMBER)
    other = join(house.services, house.holder, Role.OWNER, "Other")
    await offer_ownership(
        database, house.outbox, house.owner, account_id, user_id=ada.user_id, now=now()
    )
    token = await house.mailed()
    await leave(database, house.owner, account_id, now())
    with pytest.raises(InvitationExpiredError):
        await accept(database, ada, token, now())
    for user_id in (other.user_id, "nobody"):
        with pytest.raises(InvitationNotFoundError):
            await offer_ownership(
                database, house.outbox, other, account_id, user_id=user_id, now=now()
            )


@pytest.mark.parametrize("link", ["", "x", "zz", "00" * 32, "\0"])
async def test_links_that_never_were(house: House, link: str) -> None:
    assert await invitation_of_link(house.database, link, datetime.now(UTC)) is None
    assert await find_invitation(house.database, link, now()) is None


@pytest.mark.parametrize("after", [Role.MEMBER, None])
async def test_who_may_not_invite_any_more_leaves_no_invitations(
    house: House, after: Role | None
) -> None:
    """Nobody comes back by an invitation of their own."""
    database, account_id = house.database, house.holder.account_id
    admin = join(house.services, house.holder, Role.BILLING_ADMIN)
    ada, kept = another(house), another(house)
    await house.invite(ada.email, by=admin)
    token = await house.mailed()
    await house.invite(kept.email)
    other = await house.mailed()
    if after is None:
        await remove_member(database, house.owner, account_id, admin.user_id, now())
    else:
        await change_role(database, house.owner, account_id, admin.user_id, after, now())
    with pytest.raises(InvitationExpiredError):
        await accept(database, ada, token, now())
    assert await accept(database, kept, other, now()) == account_id


async def test_owner_who_becomes_billing_admin_takes_back_owners_alone(house: House) -> None:
    database, account_id = house.database, house.holder.account_id
    former = join(house.services, house.holder, Role.OWNER)
    ada, bob = another(house), another(house)
    await house.invite(ada.email, Role.OWNER, by=former)
    as_owner = await house.mailed()
    await house.invite(bob.email, Role.MEMBER, by=former)
    as_member = await house.mailed()
    await change_role(database, house.owner, account_id, former.user_id, Role.BILLING_ADMIN, now())
    with pytest.raises(InvitationExpiredError):
        await accept(database, ada, as_owner, now())
    assert await accept(database, bob, as_member, now()) == account_id
