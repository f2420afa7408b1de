"""API keys of services."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from billing_app.billing.actors import OperatorActor
from billing_app.billing.identity import api_keys
from billing_app.cli.running import look_after, now, out
from billing_app.db.enums import Scope, StaffRole

MAX_ID: Final = 2**63 - 1

app = typer.Typer(no_args_is_help=True, help="API keys of services.")


@app.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What the key may do. Repeatable.")],
    organization: Annotated[
        str | None, typer.Option(help="ID of the organization that the key belongs to.")
    ] = None,
    platform: Annotated[
        bool, typer.Option("--platform", help="Make the key valid for all organizations.")
    ] = False,
    expires: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day that the key is valid, in UTC."),
    ] = None,
    role: Annotated[
        StaffRole | None,
        typer.Option(help="Role of a staff key (default: billing)."),
    ] = None,
) -> None:
    """Create a key and print it. It is shown only once."""
    if (organization is None) is not platform:
        raise typer.BadParameter("Give either --organization ID or --platform.")
    made = look_after(
        lambda services: api_keys.create_key(
            services.database,
            OperatorActor(),
            name=name,
            scopes=frozenset(scope),
            organization_id=organization,
            now=now(),
            expires_at=expires.replace(tzinfo=UTC) + timedelta(days=1) if expires else None,
            staff_role=role or (StaffRole.BILLING if Scope.STAFF in scope else None),
        )
    )
    print(made.secret)


@app.command("revoke")
def revoke_key(
    key_id: Annotated[
        int, typer.Argument(min=1, max=MAX_ID, help="The number shown by `keys list`.")
    ],
) -> None:
    """Revoke a key. Every process rejects it within 5 seconds."""
    revoked = look_after(
        lambda services: api_keys.revoke_key(
            services.database, OperatorActor(), key_id=key_id, now=now()
        )
    )
    if not revoked:
        raise typer.BadParameter(f"No active key has the number {key_id}.")


@app.command("list")
def list_keys() -> None:
    """List keys, newest first, without their secrets."""
    at = now()
    keys = look_after(lambda services: api_keys.list_keys(services.database, OperatorActor()))
    for key in keys:
        out.print(
            f"{key.id}  {key.hint}…  {key.name}  {' '.join(key.scopes)}"
            f"  {key.organization_id or 'platform'}  {_state(key, at)}"
            f"  {key.staff_role or ''}"
        )


def _state(key: api_keys.KeyView, at: datetime) -> str:
    if key.revoked:
        return "revoked"
    if key.expires_at is None:
        return "active"
    last_day = (key.expires_at - timedelta(microseconds=1)).date()
    return f"active through {last_day}" if key.expires_at > at else f"expired after {last_day}"
