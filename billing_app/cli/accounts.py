"""Organizations and their plans."""

from typing import Annotated

import typer

from billing_app.billing.accounts import service as accounts
from billing_app.billing.actors import OperatorActor
from billing_app.billing.staff.repairs import service as repairs
from billing_app.billing.staff.repairs.memberships import ADD_MEMBER, NewMember
from billing_app.billing.staff.repairs.repair import AlreadyInStateError
from billing_app.cli.running import look_after, now, out
from billing_app.composition import Services
from billing_app.db.enums import Role

app = typer.Typer(no_args_is_help=True, help="Organizations and their plans.")


@app.command("create-organization")
def create_organization(
    name: Annotated[str, typer.Argument(help="The organization's name.")],
    executions: Annotated[int, typer.Option(help="Executions in its first paid plan.")],
) -> None:
    """Create an organization with a paid plan and print its id."""
    organization_id = look_after(
        lambda services: accounts.create_organization(
            services.database, OperatorActor(), name=name, executions=executions, now=now()
        )
    )
    print(organization_id)


@app.command("add-plan")
def add_plan(
    organization: Annotated[str, typer.Argument(help="The organization's ID.")],
    executions: Annotated[int, typer.Option(help="Executions in the plan.")],
    name: Annotated[str, typer.Option(help="The plan's name.")] = "Contract",
) -> None:
    """Add a paid plan to the organization's queue and print its sequence number."""
    sequence = look_after(
        lambda services: accounts.add_plan(
            services.database,
            OperatorActor(),
            organization_id=organization,
            executions=executions,
            name=name,
            now=now(),
        )
    )
    print(sequence)


@app.command("add-member")
def add_member(
    organization: Annotated[str, typer.Argument(help="The organization's ID.")],
    email: Annotated[str, typer.Argument(help="The address the person signed up with.")],
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.MEMBER,
    reason: Annotated[
        str, typer.Option(help="Reason for the audit log.")
    ] = "Added on the command line",
) -> None:
    """Add a person to the organization, or change their role. Repeating it changes nothing."""

    async def add(services: Services) -> None:
        operator = OperatorActor()
        account_id = await services.accounts.find(
            operator, organization_id=organization, user_id=""
        )
        await repairs.carry_out(
            services.repairs,
            operator,
            ADD_MEMBER,
            account_id,
            NewMember(email, role),
            reason=reason,
            now=now(),
        )

    try:
        look_after(add)
    except AlreadyInStateError as error:
        out.print(error.detail)
