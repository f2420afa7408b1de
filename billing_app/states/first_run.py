"""What an account that never counted an execution is shown: the request that counts one."""

import json
import shlex
from dataclasses import dataclass
from typing import Final

from billing_app.routes import CHECK_EXECUTIONS
from billing_app.states.views import AccountChoice

NO_KEY: Final = "YOUR_API_KEY"
WORKFLOW: Final = "hello"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a request names: an organization, or a user of the public organization."""

    organization_id: str
    user_id: str = ""

    def body(self) -> dict[str, str | int]:
        user = {"user_id": self.user_id} if self.user_id else {}
        return {
            "organization_id": self.organization_id,
            **user,
            "mode": "consume",
            "executions": 1,
            "workflow": WORKFLOW,
        }


@dataclass(frozen=True, slots=True)
class FirstRun:
    """The same request for a terminal and for Python."""

    curl: str = ""
    python: str = ""


def owner_of(account: AccountChoice, user_id: str, public_organization_id: str) -> Owner:
    if account.organization_id:
        return Owner(account.organization_id)
    return Owner(public_organization_id, user_id)


def first_run(public_url: str, owner: Owner, key: str = NO_KEY) -> FirstRun:
    """Each request has an idempotency key of its own: it may be sent again as it is."""
    url = public_url.rstrip("/") + CHECK_EXECUTIONS
    return FirstRun(_curl(url, owner, key), _python(url, owner, key))


def _curl(url: str, owner: Owner, key: str) -> str:
    body = shlex.quote(json.dumps(owner.body()))
    return (
        f"curl {shlex.quote(url)} \\\n"
        f'  -H "Authorization: Bearer {key}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        '  -H "Idempotency-Key: first-run-$(date +%s)" \\\n'
        f"  -d {body}"
    )


def _python(url: str, owner: Owner, key: str) -> str:
    members = "".join(f"        {name!r}: {value!r},\n" for name, value in owner.body().items())
    return (
        "import uuid\n\nimport httpx\n\n"
        "response = httpx.post(\n"
        f"    {url!r},\n"
        f'    headers={{"Authorization": "Bearer {key}", "Idempotency-Key": str(uuid.uuid4())}},\n'
        f"    json={{\n{members}    }},\n"
        ")\n"
        "response.raise_for_status()\n"
        'print(response.json()["executions_remaining"], "left")'
    )
