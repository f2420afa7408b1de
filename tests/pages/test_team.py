"""The team on the pages: invited by mail, joined, changed, removed, handed over."""

import secrets

import pytest
from playwright.sync_api import Page, expect

from billing_app import routes
from billing_app.db.enums import Role
from billing_app.states.member_form import HAND_OVER, INVITE, REMOVE, ROLE, MemberFormState
from billing_app.states.members import MembersState
from billing_app.states.session import SessionState
from tests.factories import Holder, connect, membership, organization, person, session_token
from tests.mailbox import Mailbox, link_in
from tests.pages.conftest import OpenContext, RunningApp, open_page
from tests.pages.sockets import CONNECT, ForgingSocket
from tests.pages.test_accessibility import faults, grave_violations


@pytest.fixture
def holder(running_app: RunningApp) -> Holder:
    return organization(running_app.database_url, 20)


def member_page(
    open_context: OpenContext, app: RunningApp, holder: Holder, role: Role, name: str
) -> tuple[Page, str]:
    """The members page of a new member, and their address."""
    somebody = person(app.database_url, name)
    membership(app.database_url, holder.organization_id, somebody.user_id, role)
    context = open_context()
    token = session_token(app.database_url, somebody.user_id)
    context.add_cookies([{"name": routes.SESSION_COOKIE, "value": token, "url": app.base_url}])
    return open_page(context, routes.MEMBERS), somebody.email


def invite(page: Page, email: str, role: str) -> None:
    page.get_by_role("button", name="Invite", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Email").fill(email)
    dialog.get_by_label("Role").select_option(role)
    dialog.get_by_role("button", name="Send invitation").click()


def act(page: Page, action: str, name: str) -> None:
    page.get_by_role("button", name=f"Actions: {name}").click()
    page.get_by_role("menuitem", name=action).click()


def test_somebody_new_is_invited_joins_and_is_removed(
    open_context: OpenContext, running_app: RunningApp, holder: Holder, mailbox: Mailbox
) -> None:
    page, _ = member_page(open_context, running_app, holder, Role.OWNER, "Grace Hopper")
    expect(page.get_by_role("listitem").filter(has_text="Grace Hopper")).to_contain_text("You")
    assert faults(page, "members-alone") == []
    address = f"{secrets.token_hex(6)}@example.com"
    invite(page, "nobody@nowhere", "member")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("This is not a valid email address.")).to_be_visible()
    assert grave_violations(page, within="[role=dialog]") == []
    dialog.get_by_label("Email").fill(address)
    dialog.get_by_label("Role").select_option("billing_admin")
    dialog.get_by_role("button", name="Send invitation").click()
    expect(page.get_by_text("Invitation sent")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text=address)).to_contain_text("Open until")

    mail = mailbox.wait_for(address, "Grace Hopper invited you to Acme")
    guest = open_context().new_page()
    guest.goto(link_in(mail))
    expect(guest.get_by_role("heading", name="Acme")).to_be_visible()
    expect(guest.get_by_text("Grace Hopper invited you to join as a billing admin")).to_be_visible()
    assert faults(guest, "invitation") == []
    guest.get_by_role("link", name="Create an account").click()
    guest.get_by_label("Name").fill("Ada Lovelace")
    guest.get_by_label("Email").fill(address)
    guest.get_by_label("Password").fill("a loom that weaves leaves")
    guest.get_by_role("button", name="Create account").click()
    guest.get_by_role("button", name="Accept").click()
    expect(guest.locator(".page-note")).to_have_text("Acme")

    member = page.get_by_role("listitem").filter(has_text="Ada Lovelace")
    expect(member).to_contain_text("Billing admin")
    expect(page.get_by_text("Open until")).to_have_count(0)
    assert faults(page, "members") == []
    act(page, "Change role", "Ada Lovelace")
    dialog.get_by_label("Role").select_option("member")
    dialog.get_by_role("button", name="Change role").click()
    expect(page.get_by_text("Ada Lovelace is a member now.")).to_be_visible()
    expect(member.locator(".member-role")).to_have_text("Member")
    act(page, "Remove", "Ada Lovelace")
    dialog.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Ada Lovelace was removed")).to_be_visible()
    expect(member).to_have_count(0)
    expect(guest.locator(".page-note")).to_have_text("Ada Lovelace")


def test_invitation_is_sent_again_withdrawn_and_declined(
    open_context: OpenContext, running_app: RunningApp, holder: Holder, mailbox: Mailbox
) -> None:
    page, _ = member_page(open_context, running_app, holder, Role.BILLING_ADMIN, "Grace")
    address = f"{secrets.token_hex(6)}@example.com"
    subject = "Grace invited you to Acme"
    invite(page, address, "member")
    first = link_in(mailbox.wait_for(address, subject))
    page.get_by_role("button", name=f"Send again to {address}").click()
    second = link_in(mailbox.wait_for(address, subject, count=2))
    guest = open_context().new_page()
    guest.goto(first)
    expect(guest.get_by_text("This invitation has expired")).to_be_visible()
    assert faults(guest, "invitation-expired") == []
    guest.goto(second)
    guest.get_by_role("button", name="Decline").click()
    expect(guest.get_by_text("Invitation declined")).to_be_visible()
    expect(page.get_by_text("Open until")).to_have_count(0)
    invite(page, address, "member")
    third = link_in(mailbox.wait_for(address, subject, count=3))
    page.get_by_role("button", name=f"Withdraw the invitation of {address}").click()
    expect(page.get_by_text("Invitation withdrawn")).to_be_visible()
    guest.goto(third)
    expect(guest.get_by_text("This invitation has expired")).to_be_visible()


def test_ownership_is_handed_over_and_its_owner_leaves(
    open_context: OpenContext, running_app: RunningApp, holder: Holder, mailbox: Mailbox
) -> None:
    page, _ = member_page(open_context, running_app, holder, Role.OWNER, "Grace")
    heir, address = member_page(open_context, running_app, holder, Role.MEMBER, "Ada")
    expect(heir.get_by_text("Ask Grace to invite members.")).to_be_visible()
    page.get_by_role("button", name="Leave organization").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Leave").click()
    expect(dialog.get_by_text("An organization needs an owner")).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    act(page, "Transfer ownership", "Ada")
    dialog.get_by_role("button", name="Ask by email").click()
    expect(page.get_by_text("We asked Ada by email")).to_be_visible()
    heir.goto(link_in(mailbox.wait_for(address, "Take over Acme?")))
    heir.get_by_role("button", name="Accept").click()
    expect(heir.locator(".page-note")).to_have_text("Acme")
    expect(
        page.get_by_role("listitem").filter(has_text="Ada").locator(".member-role")
    ).to_have_text("Owner")
    page.get_by_role("button", name="Leave organization").click()
    dialog.get_by_role("button", name="Leave").click()
    expect(page.get_by_text("You have no account yet")).to_be_visible()


def test_who_is_signed_in_as_somebody_else_is_told(
    open_context: OpenContext, running_app: RunningApp, holder: Holder, mailbox: Mailbox
) -> None:
    page, _ = member_page(open_context, running_app, holder, Role.OWNER, "Grace")
    address = f"{secrets.token_hex(6)}@example.com"
    invite(page, address, "member")
    page.goto(link_in(mailbox.wait_for(address, "Grace invited you to Acme")))
    expect(page.get_by_text(f"It is for {address}")).to_be_visible()
    expect(page.get_by_role("button", name="Accept")).to_have_count(0)
    assert faults(page, "invitation-other") == []


@pytest.mark.parametrize("role", [Role.MEMBER, None])
def test_forged_events_change_no_members(
    open_context: OpenContext, running_app: RunningApp, holder: Holder, role: Role | None
) -> None:
    del open_context
    url = running_app.database_url
    owner, somebody = person(url, "Grace"), person(url)
    membership(url, holder.organization_id, owner.user_id, Role.OWNER)
    if role is not None:
        membership(url, holder.organization_id, somebody.user_id, role)
    cookie = f"{routes.SESSION_COOKIE}={session_token(url, somebody.user_id)}"
    form = {"email": "mine@example.com", "role": "owner"}
    with ForgingSocket(running_app, routes.MEMBERS, cookie=cookie) as socket:
        socket.send(CONNECT)
        socket.send_event(SessionState, "choose_account", account_id=holder.account_id)
        socket.send_event(MembersState, "load")
        socket.settle()
        for kind, handler, payload in (
            (INVITE, "invite", {"form": form}),
            (ROLE, "change_role", {"form": form}),
            (REMOVE, "remove", {}),
            (HAND_OVER, "hand_over", {}),
            ("", "send_again", {"invitation_id": "inv_x"}),
            ("", "withdraw", {"invitation_id": "inv_x"}),
        ):
            socket.send_event(MemberFormState, "ask", kind=kind, user_id=owner.user_id)
            socket.send_event(MemberFormState, handler, **payload)
            socket.settle(1)
            socket.send_event(MemberFormState, "close")
        assert owner.email not in socket.text or role is not None
    with connect(url) as connection:
        kept = connection.execute(
            "SELECT user_id, role FROM memberships WHERE organization_id = %s",
            [holder.organization_id],
        ).fetchall()
        invited = connection.execute(
            "SELECT count(*) FROM invitations WHERE organization_id = %s", [holder.organization_id]
        ).fetchone()
    others = {somebody.user_id: role.value} if role is not None else {}
    assert dict(kept) == {owner.user_id: "owner", **others}
    assert invited == (0,)
