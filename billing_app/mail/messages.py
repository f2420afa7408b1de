"""A mail as a message of RFC 5322."""

from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate, make_msgid

from billing_app.billing.mail import Mail


def message_of(mail: Mail, sender: str) -> EmailMessage:
    """Raises ValueError when an address or the subject could begin another header."""
    plain = (mail.to + sender).isascii()
    message = EmailMessage(policy=SMTP if plain else SMTPUTF8)
    message["From"] = sender
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].rstrip(">"))
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    return message
