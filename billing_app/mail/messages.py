"""A mail as a message of RFC 5322."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate, make_msgid, parseaddr

from billing_app.billing.mail import Mail


def recipient_of(mail: Mail) -> str:
    """The address as it is given to a server: a domain of other letters is encoded (IDNA).

    Raises ValueError when it could be read as another address.
    """
    local, _, domain = mail.to.rpartition("@")
    recipient = f"{local}@{domain if domain.isascii() else domain.encode('idna').decode()}"
    if parseaddr(recipient)[1] != recipient:
        raise ValueError("This address could be read as another one.")
    return recipient


def message_of(mail: Mail, sender: str) -> EmailMessage:
    """Raises ValueError when an address or the subject could be read as something else."""
    recipient = recipient_of(mail)
    message = EmailMessage(policy=SMTP if recipient.isascii() else SMTPUTF8)
    message["From"] = sender
    message["To"] = Address(addr_spec=recipient)
    message["Subject"] = mail.subject
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=parseaddr(sender)[1].rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    # A link stays in one piece also for who reads the mail as it is.
    message.set_content(mail.text, cte="7bit" if mail.text.isascii() else "quoted-printable")
    return message
