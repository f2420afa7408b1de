"""What the console's pages draw: small frozen values, numbers already in words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberRow:
    """Somebody of the staff."""

    user_id: str
    name: str
    email: str
    role: str
    added: str
    is_viewer: bool


@dataclass(frozen=True, slots=True)
class CustomerLine:
    """An account in the list of customers. `tone` is the status badge's."""

    account_id: str
    name: str
    email: str
    kind: str
    plan: str
    remaining: str
    used_percent: float
    meter_tone: str
    status: str
    tone: str
    since: str
