"""Whose Stripe account the database belongs to: checked at the start, changed by `adopt`."""

import asyncio
import sys
from typing import Annotated, Final

import structlog
import typer

from billing_app.billing.errors import BillingError
from billing_app.billing.staff.repairs.provider_driver import record_failure
from billing_app.billing.subscriptions.adoption import Adoption, Detached
from billing_app.billing.subscriptions.adoption import adopt as adopt_database
from billing_app.billing.subscriptions.installation import ProviderNotAdoptedError
from billing_app.billing.subscriptions.offer_prices import ensure_prices
from billing_app.cli.running import look_after, now, out
from billing_app.composition import Services
from billing_app.settings import SettingsError

# A start does not wait for Stripe; before the first write it is asked again.
START_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


async def require_own_account(services: Services) -> None:
    """Record the Stripe account of a new database. Raises ProviderNotAdoptedError when the key is
    of another account or mode. A copy starts, and says that it does not write."""
    if services.settings.stripe_secret_key is None:
        return
    try:
        async with asyncio.timeout(START_SECONDS):
            await services.installation.require_account()
            await services.installation.permit()
    except TimeoutError:
        log.warning("stripe_account_not_checked", error="TimeoutError")
    except ProviderNotAdoptedError as error:
        if error.is_other_account:
            raise
    except BillingError as error:
        log.warning("stripe_account_not_checked", error=error.code)
    if advice := await services.installation.advice():
        print(advice, file=sys.stderr)


def adopt(
    new_stripe_account: Annotated[
        bool,
        typer.Option(
            "--new-stripe-account", help="Move to the account or mode of STRIPE_SECRET_KEY."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
) -> None:
    """Let a copied or restored database write to Stripe, or move it to another Stripe account.

    The database that it was copied from must never write to Stripe again.
    """

    async def work(services: Services) -> Adoption:
        if services.settings.stripe_secret_key is None:
            raise SettingsError(["STRIPE_SECRET_KEY is not set: there is no account to adopt for."])
        adopted = await adopt_database(
            services.database,
            services.installation,
            record_failure,
            new_account=new_stripe_account,
            dry_run=dry_run,
            now=now(),
        )
        if adopted.was_copy and not dry_run:
            await ensure_prices(services.database, services.provider, now())
        return adopted

    out.print(_describe(look_after(work), is_dry=dry_run))


def _describe(done: Adoption, *, is_dry: bool) -> str:
    if done.detached is None and not done.was_copy:
        return f"This database belongs to Stripe account {done.account}. Nothing to adopt."
    verb = "Would adopt" if is_dry else "Adopted"
    lines = [f"{verb} this database for Stripe account {done.account}."]
    if done.detached is not None:
        lines += _describe_detached(done.detached, is_dry=is_dry)
    else:
        lines.append("Its original must not run any more. Next: python -m billing_app reconcile")
    return "\n".join(lines)


def _describe_detached(detached: Detached, *, is_dry: bool) -> list[str]:
    verb = "Would detach" if is_dry else "Detached"
    counts = (
        (detached.customers, "customers and their cards"),
        (detached.prices, "prices"),
        (detached.subscriptions, "subscriptions, whose plans last until their period ends"),
        (detached.checkouts, "open checkouts"),
        (detached.requests, "requests without a known result"),
        (detached.overage_plans, "plans that allowed overage"),
    )
    return [
        *(f"{verb} {what}: {count:,}" for count, what in counts if count),
        "The old account keeps charging its subscriptions until they are cancelled there.",
    ]
