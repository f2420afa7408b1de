"""A mail as a message of RFC 5322."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate, make_msgid, parseaddr
from typing import Final

from billing_app.billing.mail import Mail
from billing_app.mail.letters import html_of

# A long link in a header would be encoded as words otherwise, which no mail client can follow.
MAX_LINE_LENGTH: Final = 998


def recipient_of(mail: Mail) -> str:
    """The address as a server takes it: a non-ASCII domain is encoded (IDNA).

    Raises ValueError when it could be read as another address.
    """
    local, _, domain = mail.to.rpartition("@")
    recipient = f"{local}@{domain if domain.isascii() else domain.encode('idna').decode()}"
    if parseaddr(recipient)[1] != recipient:
        raise ValueError("This address is ambiguous: it could be read as another one.")
    return recipient


def message_of(mail: Mail, sender: str) -> EmailMessage:
    """Raises ValueError when an address or the subject is ambiguous."""
    recipient = recipient_of(mail)
    policy = SMTP if recipient.isascii() else SMTPUTF8
    message = EmailMessage(policy=policy.clone(max_line_length=MAX_LINE_LENGTH))
    message["From"] = sender
    message["To"] = Address(addr_spec=recipient)
    message["Subject"] = mail.subject
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=parseaddr(sender)[1].rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    if mail.unsubscribe_url:
        message["List-Unsubscribe"] = f"<{mail.unsubscribe_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    # Keeps a link in one piece in the source of the mail too.
    message.set_content(mail.text, cte="7bit" if mail.text.isascii() else "quoted-printable")
    if mail.letter is not None:
        html = html_of(mail.letter, unsubscribe_url=mail.unsubscribe_url)
        message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message
