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
