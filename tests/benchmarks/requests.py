"""The requests that the load sends: ready heads and tails for load.Load."""

from collections.abc import Sequence
from typing import Final

from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH

WORKFLOW: Final = "nightly"


def consume_head(secret: str) -> str:
    """Followed by the idempotency key, then a tail."""
    return _head("POST", CHECK_EXECUTIONS, secret)


def check_head(secret: str) -> str:
    return _head("POST", CHECK_EXECUTIONS, secret)


def batch_head(secret: str) -> str:
    return _head("POST", CHECK_EXECUTIONS_BATCH, secret)


def get_head(path: str, secret: str) -> str:
    return _head("GET", path, secret)


def consume_tails(organizations: Sequence[str]) -> list[str]:
    return ["\r\n" + _with_length(_item(name, "consume") + "}") for name in organizations]


def check_tails(organizations: Sequence[str]) -> list[str]:
    return [_with_length(_item(name, "check") + "}") for name in organizations]


def trial_tails(public_organization: str, users: int) -> list[str]:
    """Checks of users of the public organization, each with a trial of their own."""
    return [
        _with_length(_item(public_organization, "check") + f',"user_id":"user_{number}"}}')
        for number in range(users)
    ]


def batch_tails(organizations: Sequence[str]) -> list[str]:
    """Items without their closing brace: the load adds each one's key."""
    return [_item(name, "consume") for name in organizations]


def _item(organization: str, mode: str) -> str:
    return (
        f'{{"organization_id":"{organization}","executions":1,"mode":"{mode}",'
        f'"workflow":"{WORKFLOW}"'
    )


def _with_length(body: str) -> str:
    return f"Content-Length: {len(body)}\r\n\r\n{body}"


def _head(method: str, path: str, secret: str) -> str:
    return (
        f"{method} {path} HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\n"
        f"Authorization: Bearer {secret}\r\n"
        "Content-Type: application/json\r\n"
    )
