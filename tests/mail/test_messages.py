"""Mails as messages: what a mail client reads, and what a filter of bulk mail asks for."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from billing_app.billing.mail import Letter, Mail, letter_mail
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
