"""Moving in from a Stripe account whose subscriptions were made by something else."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from billing_app.billing.actors import OperatorActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.imports.price_plans import PriceMap, PricePlan, read_map
from billing_app.billing.imports.runs import ImportRun, Outcome, Result, survey_account
from billing_app.billing.imports.subscription_plans import USUAL_KEYS, Keys, Survey
from billing_app.billing.imports.subscriptions import SubscriptionImporter
from billing_app.billing.imports.taken_offers import read_price_plans, take_prices
from billing_app.billing.quantities import counted
from billing_app.cli.progress import progress
from billing_app.cli.running import look_after, now, out
from billing_app.composition import Services
from billing_app.settings import SettingsError

ACTOR: Final = OperatorActor()
REASON: Final = "Imported from Stripe"
SHOWN: Final = 20
SHOWN_PROBLEMS: Final = 100
COLUMNS: Final = (
    "subscription",
    "customer",
    "external_id",
    "result",
    "problem",
    "offer",
    "executions",
    "used",
    "ends_at",
)


@dataclass(frozen=True, slots=True)
class Options:
    applies: bool
    shows: bool
    keys: Keys
    price_map: PriceMap
    report: Path | None


@dataclass(slots=True)
class Counts:
    """`lines`: the first of what was taken, `problems` of what was not."""

    results: Counter[Result] = field(default_factory=Counter[Result])
    lines: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])

    def add(self, outcome: Outcome) -> None:
        self.results[outcome.result] += 1
        subscription = outcome.plan.subscription
        if outcome.result is Result.NOT_TAKEN and len(self.problems) < SHOWN_PROBLEMS:
            who = f"{subscription.subscription_id} of {outcome.plan.external_id}"
            self.problems.append(f"  {who}: {outcome.problem}")
        elif outcome.result is Result.TAKEN and len(self.lines) < SHOWN:
            self.lines.append(f"  {_describe(outcome)}")


def import_stripe(
    apply: Annotated[
        bool, typer.Option("--apply/--dry-run", help="Import, or only check and report.")
    ] = False,
    map_file: Annotated[
        Path | None,
        typer.Option("--map", help="TOML file: executions and offers by price.", dir_okay=False),
    ] = None,
    id_key: Annotated[
        str, typer.Option(help="Metadata of a customer that has your own ID.")
    ] = USUAL_KEYS.external_id,
    executions_key: Annotated[
        str, typer.Option(help="Metadata of a price or product that has its executions.")
    ] = USUAL_KEYS.executions,
    used_key: Annotated[
        str,
        typer.Option(help="Metadata of a subscription or customer that has the executions used."),
    ] = USUAL_KEYS.used,
    show_offers: Annotated[
        bool, typer.Option("--show-offers", help="Show the new offers to all customers.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="CSV file to write a line for each subscription to.")
    ] = None,
) -> None:
    """Take over the subscriptions of a Stripe account. Safe to stop and run again.

    Writes nothing to Stripe but metadata of customers. Exits with 1 when some were not taken.
    """
    keys = Keys(id_key, executions_key, used_key)
    price_map = _read_map(map_file) if map_file else PriceMap()
    options = Options(apply, show_offers, keys, price_map, report)
    counts = look_after(lambda services: _import(services, options))
    _print(counts, options)
    if counts.results[Result.NOT_TAKEN]:
        raise typer.Exit(1)


async def _import(services: Services, options: Options) -> Counts:
    from billing_app.payments.importing import Imports
    from billing_app.payments.rate_budget import Priority, at_priority

    account = services.provider
    if not isinstance(account, Imports):
        raise SettingsError(["STRIPE_SECRET_KEY is not set: there is no account to import from."])
    with at_priority(Priority.RECONCILE):
        await (account.require_writable() if options.applies else _require_account(services))
        with progress("Reading Stripe", None) as seen:
            survey = await survey_account(account, options.keys, seen)
        prices = await read_price_plans(services.database, account, survey, options.price_map)
        _print_prices(prices, survey)
        if options.applies:
            prices = await take_prices(
                services.database, ACTOR, prices, shows=options.shows, reason=REASON, now=now()
            )
        importer = SubscriptionImporter(
            services.database,
            account,
            services.subscriptions.syncing,
            services.executions,
            services.terms,
            ACTOR,
            REASON,
        )
        run = ImportRun(importer, survey, prices, options.price_map, options.applies, now)
        return await _run(run, survey, options)


async def _require_account(services: Services) -> None:
    await services.installation.require_account()


async def _run(run: ImportRun, survey: Survey, options: Options) -> Counts:
    counts, done = Counts(), 0
    description = "Importing" if options.applies else "Checking"
    with progress(description, survey.subscriptions) as seen, _reporting(options) as write:
        async for page in run.pages():
            for outcome in page:
                counts.add(outcome)
                write(outcome)
            done += len(page)
            seen(done)
    return counts


@contextmanager
def _reporting(options: Options) -> Iterator[Callable[[Outcome], None]]:
    """Writes a line for each subscription. Raises InvalidInputError."""
    if options.report is None:
        yield lambda _: None
        return
    try:
        file = options.report.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInputError(f"{options.report} cannot be written: {error.strerror}.") from None
    with file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        yield lambda outcome: writer.writerow(_row(outcome))


def _row(outcome: Outcome) -> list[Any]:
    plan = outcome.plan
    return [
        plan.subscription.subscription_id,
        plan.subscription.customer.customer_id,
        plan.external_id,
        outcome.result,
        outcome.problem,
        plan.price.code if plan.price else "",
        plan.executions or "",
        plan.used,
        plan.ends_at.isoformat() if plan.ends_at else "",
    ]


def _read_map(path: Path) -> PriceMap:
    """Raises InvalidInputError."""
    try:
        return read_map(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is not UTF-8 text.") from None


def _print_prices(prices: dict[str, PricePlan], survey: Survey) -> None:
    out.print(f"Prices of {counted(survey.subscriptions, 'subscription')}: {len(prices):,}")
    for price_id, plan in prices.items():
        count = survey.counts[price_id]
        what = f"not taken: {plan.problem}" if plan.problem else _describe_offer(plan)
        out.print(f"  {price_id} ({count:,}) -> {what}", markup=False)


def _describe_offer(plan: PricePlan) -> str:
    assert plan.terms is not None
    terms = plan.terms
    standing = "" if plan.version_id is not None else ", new"
    archived = "" if plan.on_sale else ", archived"
    return (
        f"offer {plan.code}: {terms.name}, {terms.price} a {terms.interval},"
        f" {counted(terms.executions, 'execution')}{standing}{archived}"
    )


def _describe(outcome: Outcome) -> str:
    plan = outcome.plan
    assert plan.price is not None
    assert plan.ends_at is not None
    used = f", {plan.used:,} used" if plan.used else ""
    return (
        f"{plan.subscription.customer.customer_id} -> {plan.external_id}: {plan.price.code},"
        f" {counted(plan.executions, 'execution')} until {plan.ends_at:%Y-%m-%d}{used}"
    )


def _print(counts: Counts, options: Options) -> None:
    taken, left = counts.results[Result.TAKEN], counts.results[Result.NOT_TAKEN]
    out.print(f"Subscriptions {'taken' if options.applies else 'to take'}: {taken:,}")
    _print_lines(counts.lines, taken)
    if left:
        out.print(f"Not taken: {left:,}")
        _print_lines(counts.problems, left)
    out.print(f"Here before: {counts.results[Result.KNOWN]:,}")
    if not options.applies:
        out.print("Nothing was imported. Pass --apply to import.")


def _print_lines(lines: list[str], count: int) -> None:
    for line in lines:
        out.print(line, markup=False)
    if count > len(lines):
        out.print(f"  … and {count - len(lines):,} more: see --report")
