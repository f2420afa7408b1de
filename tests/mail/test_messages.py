"""Mails as messages: what a mail client reads, and what a filter of bulk mail asks for."""

import re
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html import escape
from typing import Any

from billing_app.billing.mail import Letter, Mail, letter_mail, required_mail
from billing_app.mail.letters import html_of
from billing_app.mail.messages import message_of

SENDER = "Billing <billing@example.com>"
LONG_URL = "https://billing.example.com/billing/unsubscribe/" + "Qx7-_" * 60
LETTER = Letter(
    headline="12% of executions left",
    paragraphs=("Acme & <Sons> has 120 of 1,000 left.",),
    button="See plans",
    url="https://billing.example.com/overview?a=1&b=2",
    small_print="You get this as an owner of Acme & <Sons>.",
    small_link=("Choose your alerts", "https://billing.example.com/alerts"),
)

LETTER_WITHOUT_FOOT = replace(LETTER, small_print="", small_link=None)
GMAIL_CLIPS_AT_BYTES = 102_000


def received(mail: Mail) -> EmailMessage:
    read: Any = message_from_bytes(message_of(mail, SENDER).as_bytes(), policy=default)
    assert isinstance(read, EmailMessage)
    return read


def part_of(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    return found.get_content()


def test_letter_has_text_and_html_that_say_the_same() -> None:
    message = received(letter_mail("ada@example.com", "12% left", LETTER))
    assert message.get_content_type() == "multipart/alternative"
    text, html = part_of(message, "plain"), part_of(message, "html")
    assert text.splitlines()[0] == LETTER.headline
    assert LETTER.url in text.splitlines()
    assert "Acme &amp; &lt;Sons&gt; has 120 of 1,000 left." in html
    assert 'href="https://billing.example.com/overview?a=1&amp;b=2"' in html
    assert "<Sons>" not in html
    assert "Choose your alerts: https://billing.example.com/alerts" in text.splitlines()
    assert 'href="https://billing.example.com/alerts"' in html
    assert "nsubscribe" not in text + html


def test_rows_and_notes_are_in_both_parts() -> None:
    letter = Letter(
        "Receipt for 29.00 USD",
        ("We received your payment.",),
        rows=(("Paid", "29.00 USD"), ("Invoice", "<A-1>")),
        notes=("Keep it & file it.",),
    )
    message = received(letter_mail("ada@example.com", letter.headline, letter))
    html = part_of(message, "html")
    text = part_of(message, "plain").replace("\r\n", "\n")
    assert "Paid: 29.00 USD\nInvoice: <A-1>\n\nKeep it & file it." in text
    assert text.rstrip().endswith("file it.")
    assert "&lt;A-1&gt;" in html
    assert "Keep it &amp; file it." in html
    assert "<a " not in html


def test_html_loads_nothing_and_knows_dark_mode() -> None:
    html = part_of(received(letter_mail("ada@example.com", "12% left", LETTER)), "html")
    assert not re.search(r"<img|<script|<link|@import|url\(|src=", html)
    assert "prefers-color-scheme: dark" in html
    assert '<meta name="color-scheme" content="light dark">' in html
    assert len(html.encode()) < GMAIL_CLIPS_AT_BYTES / 8


def test_preheader_is_the_first_paragraph_unless_given() -> None:
    page = html_of(LETTER)
    assert page.index(escape(LETTER.paragraphs[0])) < page.index("<table")
    own = html_of(replace(LETTER, preheader="Only in the list"))
    assert own.count("Only in the list") == 1


def test_required_mail_says_why_it_comes_and_cannot_be_turned_off() -> None:
    mail = required_mail(
        "ada@example.com", "Confirm", LETTER_WITHOUT_FOOT, site="https://b.example"
    )
    text = part_of(received(mail), "plain")
    assert "Sent to ada@example.com because it is used at https://b.example." in text
    assert "cannot be turned off" in text
    assert received(mail)["List-Unsubscribe"] is None


def test_unsubscribe_headers_keep_a_long_link_in_one_piece() -> None:
    mail = letter_mail("ada@example.com", "12% left", LETTER, unsubscribe_url=LONG_URL)
    source = message_of(mail, SENDER).as_bytes().decode()
    assert f"List-Unsubscribe: <{LONG_URL}>\r\n" in source
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in source
    message = received(mail)
    assert f"Unsubscribe: {LONG_URL}" in part_of(message, "plain")
    assert f'href="{LONG_URL}"' in part_of(message, "html")


def test_plain_mail_has_neither_html_nor_unsubscribe_headers() -> None:
    message = received(Mail("ada@example.com", "Choose a new password", "A link\n"))
    assert message.get_content_type() == "text/plain"
    assert message["List-Unsubscribe"] is None


def test_subject_and_names_in_any_script_arrive() -> None:
    letter = Letter("Опрос 12 %", ("Für Österreich ™",), "Ansehen", "https://b.example/", "")
    message = received(letter_mail("ada@example.com", "Опрос 12 %", letter))
    assert message["Subject"] == "Опрос 12 %"
    assert "Für Österreich ™" in part_of(message, "html")
