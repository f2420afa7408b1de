"""Staff members and their roles."""

from typing import Annotated

import typer

from billing_app.billing.actors import OperatorActor
from billing_app.billing.staff.access import members
from billing_app.cli.running import look_after, now, out
from billing_app.composition import Services
from billing_app.db.enums import StaffRole

app = typer.Typer(no_args_is_help=True, help="Staff members and their roles.")

ReasonOption = Annotated[str, typer.Option(help="Reason for the audit log.")]


@app.command("add")
def add_staff(
    email: Annotated[str, typer.Argument()],
    role: Annotated[StaffRole, typer.Option()],
    reason: ReasonOption = "Added on the command line",
) -> None:
    """Add a staff member or change their role. Prints a new user's password once."""
    added = look_after(
        lambda services: members.add_member(
            services.database, OperatorActor(), email=email, role=role, reason=reason, now=now()
        )
    )
    if added.password is not None:
        print(added.password)


@app.command("remove")
def remove_staff(
    email: Annotated[str, typer.Argument()],
    reason: ReasonOption = "Removed on the command line",
) -> None:
    """Remove a staff member. The last admin cannot be removed."""

    async def remove(services: Services) -> None:
        member = await members.find_member(services.database, OperatorActor(), email=email)
        await members.remove_member(
            services.database, OperatorActor(), user_id=member.user_id, reason=reason, now=now()
        )

    look_after(remove)


@app.command("list")
def list_staff() -> None:
    """List staff members and their roles."""
    for member in look_after(
        lambda services: members.list_members(services.database, OperatorActor())
    ):
        out.print(f"{member.email}  {member.role}  since {member.added_at:%Y-%m-%d}")
