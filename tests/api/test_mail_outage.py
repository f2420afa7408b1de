"""A mail server that is away for a day: every mail comes once, when it is back."""

import time
from collections.abc import Iterator

import pytest

from billing_app.billing import ids
from billing_app.billing.identity.email_links import WELCOME_SUBJECT
from billing_app.jobs.mail import (
    GIVE_UP_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PAUSES_SECONDS,
    ROUND,
    pause_seconds,
)
from billing_app.routes import USER_CREATE
from tests.api.mailed_site import mailed_site, running_mailbox
from tests.api.server import ApiServer
from tests.api.test_sign_in import PASSWORD, Browser
from tests.factories import connect
from tests.mailbox import Mailbox

WITHIN_SECONDS = 120
QUEUEABLE = (
    "SELECT 1 FROM information_schema.columns WHERE table_schema = 'dbos'"
    " AND table_name = 'workflow_status' AND column_name = 'creator_xid'"
)
WAITING = (
    "SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'DELAYED' AND name = %s"
    " AND workflow_uuid LIKE %s"
)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


@pytest.fixture
def site(own_database_url: str, mailbox: Mailbox) -> Iterator[ApiServer]:
    with mailed_site(own_database_url, mailbox) as started:
        yield started


def until_jobs_can_be_queued(url: str) -> None:
    """The worker has made its tables, the newest column of which is looked for."""
    deadline = time.monotonic() + WITHIN_SECONDS
    with connect(url) as connection:
        while not connection.execute(QUEUEABLE).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.1)


def waiting(url: str, number: int) -> str:
    """The job that waits for its round."""
    deadline = time.monotonic() + WITHIN_SECONDS
    with connect(url) as connection:
        while True:
            found = connection.execute(WAITING, ["mail_email_link", f"%{ROUND}{number}"]).fetchone()
            if found is not None:
                return found[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)


def let_time_pass(url: str, job: str) -> None:
    """The round of a job is due, which it was not."""
    with connect(url) as connection:
        due = connection.execute(
            "UPDATE dbos.workflow_status SET delay_until_epoch_ms = 1 WHERE workflow_uuid = %s"
            " AND delay_until_epoch_ms > extract(epoch FROM now()) * 1000 RETURNING 1",
            [job],
        ).fetchone()
    assert due == (1,)


def test_mail_comes_once_after_a_day_without_a_server(
    site: ApiServer, own_database_url: str, mailbox: Mailbox
) -> None:
    until_jobs_can_be_queued(own_database_url)
    mailbox.stop()
    address = _sign_up(site)
    for number in (1, 2):
        job = waiting(own_database_url, number)
        if number == 2:
            mailbox.start()
        let_time_pass(own_database_url, job)
    mailbox.wait_for(address, WELCOME_SUBJECT)
    with connect(own_database_url) as connection:
        left = connection.execute(
            "SELECT count(*) FROM dbos.workflow_status"
            " WHERE name = 'mail_email_link' AND status IN ('DELAYED', 'ENQUEUED')"
        ).fetchone()
    assert left == (0,)
    assert len(mailbox.to(address, WELCOME_SUBJECT)) == 1


def _sign_up(site: ApiServer) -> str:
    address = f"{ids.new_id('')}@example.com"
    Browser(site.url).post(USER_CREATE, email=address, password=PASSWORD, name="Ada")
    return address


def test_rounds_go_on_for_three_days() -> None:
    pauses: list[float] = []
    while (pause := pause_seconds(len(pauses) + 1)) is not None:
        pauses.append(pause)
    assert tuple(pauses[:3]) == PAUSES_SECONDS
    assert GIVE_UP_SECONDS - LONGEST_PAUSE_SECONDS < sum(pauses) <= GIVE_UP_SECONDS
