"""Alerts by mail, and unsubscribing with one click: real jobs, a real SMTP server, real HTTP."""

import re
import time
from collections.abc import Iterator
from email.message import EmailMessage
from urllib.parse import urlsplit

import httpx
import pytest

from billing_app.routes import UNSUBSCRIBE, UNSUBSCRIBED
from tests.api.mailed_site import mailed_site, running_mailbox
from tests.api.server import ApiServer
from tests.databases import create_database
from tests.factories import connect, membership, organization, person
from tests.mailbox import Mailbox
from tests.raised_alerts import raise_left

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
UNKNOWN = f"{UNSUBSCRIBED}?error=unsubscribe_link_unknown"
ATTEMPTED_WITHIN_SECONDS = 60.0


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def url(server_url: str, database_template: str) -> str:
    return create_database(server_url, "unsubscribe", database_template)


@pytest.fixture(scope="module")
def site(url: str, mailbox: Mailbox) -> Iterator[ApiServer]:
    """An API with mail, and its worker."""
    with mailed_site(url, mailbox) as started:
        yield started


class Owner:
    """Of a new organization with executions left."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.holder = organization(url, 1000)
        owner = person(url)
        membership(url, self.holder.organization_id, owner.user_id, "owner")
        self.user_id, self.email = owner.user_id, owner.email

    def mailed(self, mailbox: Mailbox, left: int) -> EmailMessage:
        """The mail about an alert that is raised now."""
        raise_left(self.url, self.holder.account_number, left)
        return mailbox.wait_for(self.email, f"Acme: {left:,} executions left")

    @property
    def wants_mail(self) -> bool:
        with connect(self.url) as connection:
            row = connection.execute(
                "SELECT wants_mail FROM alert_preferences WHERE user_id = %s", [self.user_id]
            ).fetchone()
        return row is None or row[0]


def unsubscribe_path(mail: EmailMessage) -> str:
    found = re.fullmatch(r"<(\S+)>", mail["List-Unsubscribe"])
    assert found is not None
    return urlsplit(found[1]).path


def test_mail_says_the_figure_and_how_to_unsubscribe(
    site: ApiServer, mailbox: Mailbox, url: str
) -> None:
    owner = Owner(url)
    mail = owner.mailed(mailbox, 120)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["List-Unsubscribe"].startswith(f"<{site.url}{UNSUBSCRIBE}/")
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().splitlines()[0] == "120 executions left"
    assert "120 of 1,000 executions are left." in html.get_content()
    assert f"{site.url}{unsubscribe_path(mail)}" in plain.get_content()


def test_opening_the_link_changes_nothing_and_the_button_unsubscribes(
    site: ApiServer, mailbox: Mailbox, url: str
) -> None:
    owner = Owner(url)
    path = unsubscribe_path(owner.mailed(mailbox, 120))
    opened = httpx.get(site.url + path)
    token = path.rpartition("/")[2]
    assert (opened.status_code, opened.headers["location"]) == (303, f"{UNSUBSCRIBED}?link={token}")
    assert owner.wants_mail
    pressed = httpx.post(site.url + path, data={"sent_from": "page"})
    assert pressed.headers["location"] == f"{UNSUBSCRIBED}?said=unsubscribed"
    assert not owner.wants_mail


@pytest.mark.parametrize("body", ["form", "multipart", "empty"])
def test_one_click_of_a_mail_client_unsubscribes_without_redirect(
    site: ApiServer, mailbox: Mailbox, url: str, body: str
) -> None:
    owner = Owner(url)
    address = site.url + unsubscribe_path(owner.mailed(mailbox, 120))
    sent = {
        "form": {"data": ONE_CLICK},
        "multipart": {"files": {name: (None, value) for name, value in ONE_CLICK.items()}},
        "empty": {},
    }[body]
    for _ in range(2):
        answer = httpx.post(address, **sent)  # pyright: ignore[reportArgumentType]
        assert (answer.status_code, answer.json()) == (200, {"unsubscribed": True})
    assert not owner.wants_mail
    other = Owner(url)
    raise_left(url, owner.holder.account_number, 90)
    other.mailed(mailbox, 90)
    assert mailbox.to(owner.email, "Acme: 90 executions left") == []


def test_wrong_link_is_explained_and_changes_nothing(
    site: ApiServer, mailbox: Mailbox, url: str
) -> None:
    owner, other = Owner(url), Owner(url)
    path = unsubscribe_path(owner.mailed(mailbox, 120))
    other_path = unsubscribe_path(other.mailed(mailbox, 120))
    whose, _, signature = path.rpartition("/")[2].partition(".")
    others = other_path.rpartition(".")[2]
    wrong = (
        "x",
        "Ünicode",
        f"{whose}.",
        f"{whose}.{signature[:-1]}",
        f"{whose}.{others}",
    )
    for token in wrong:
        address = f"{site.url}{UNSUBSCRIBE}/{token}"
        assert httpx.get(address).headers["location"] == UNKNOWN
        answer = httpx.post(address, data=ONE_CLICK)
        assert (answer.status_code, answer.json()["code"]) == (404, "unsubscribe_link_unknown")
        pressed = httpx.post(address, data={"sent_from": "page"})
        assert pressed.headers["location"] == UNKNOWN
    assert owner.wants_mail
    assert other.wants_mail


def test_mail_waits_for_a_server_that_was_away(site: ApiServer, mailbox: Mailbox, url: str) -> None:
    owner = Owner(url)
    assert site.url
    mailbox.stop()
    try:
        raise_left(url, owner.holder.account_number, 77)
        wait_until_attempted(url, owner)
    finally:
        mailbox.start()
    subject = "Acme: 77 executions left"
    mailbox.wait_for(owner.email, subject)
    owner.mailed(mailbox, 76)
    assert len(mailbox.to(owner.email, subject)) == 1


def wait_until_attempted(url: str, owner: Owner) -> None:
    """Until a worker has begun to send: its key for the unsubscribe link is there."""
    deadline = time.monotonic() + ATTEMPTED_WITHIN_SECONDS
    while True:
        with connect(url) as connection:
            found = connection.execute(
                "SELECT FROM alert_preferences WHERE user_id = %s", [owner.user_id]
            ).fetchone()
        if found is not None:
            return
        assert time.monotonic() < deadline
        time.sleep(0.1)
