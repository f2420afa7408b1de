"""The catalogue as code: `offers pull` and `offers push`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from billing_app.billing.actors import OperatorActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.quantities import counted
from billing_app.billing.staff.catalogue.offer_files import FileOffer, dumps, loads
from billing_app.billing.staff.catalogue.offer_pushes import (
    OfferPush,
    Push,
    apply_push,
    plan_push,
    read_catalogue,
    without_revisions,
)
from billing_app.cli.running import look_after, now, out
from billing_app.composition import Services

app = typer.Typer(no_args_is_help=True, help="The offer catalogue as a TOML file.")

ACTOR: Final = OperatorActor()
FileArgument = Annotated[Path, typer.Argument(help="TOML file.", dir_okay=False)]


@app.command()
def pull(
    file: FileArgument,
    without: Annotated[
        bool,
        typer.Option(
            "--without-revisions",
            help="For another installation: pushing it never conflicts, and creates or replaces.",
        ),
    ] = False,
) -> None:
    """Write all offers to a file, each with its newest draft."""
    offers = look_after(lambda services: read_catalogue(services.database, ACTOR, now()))
    _write(file, without_revisions(offers) if without else offers)
    out.print(f"Wrote {counted(len(offers), 'offer')} to {file}.", markup=False)


@app.command()
def push(
    file: FileArgument,
    publish: Annotated[
        bool, typer.Option("--publish", help="Also publish the drafts, archive and unarchive.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the differences.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Publish without asking.")] = False,
    reason: Annotated[
        str, typer.Option(help="Reason for the audit log.")
    ] = "Pushed on the command line",
) -> None:
    """Show what a file changes in the catalogue, and save it as drafts or publish it.

    Published versions never change; customers keep the version they bought.
    """
    offers = _read(file)
    planned = look_after(
        lambda services: plan_push(services.database, ACTOR, offers, publish=publish, now=now())
    )
    for line in _describe(planned, publishes=publish):
        out.print(line, markup=False)
    if dry_run or not planned.changes or (publish and not yes and not _is_confirmed()):
        return

    async def work(services: Services) -> list[FileOffer]:
        await apply_push(
            services.database, services.provider, ACTOR, planned, reason=reason, now=now()
        )
        codes = [offer.code for offer in offers]
        return await read_catalogue(services.database, ACTOR, now(), codes=codes)

    pushed = look_after(work)
    if any(offer.revision is not None for offer in offers):
        _write(file, pushed)
    verb = "Published" if publish else "Saved as drafts"
    out.print(f"{verb}: {counted(len(planned.changes), 'offer')}.")


def _read(file: Path) -> list[FileOffer]:
    """Raises InvalidInputError."""
    try:
        return loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{file} is not UTF-8 text.") from None


def _write(file: Path, offers: list[FileOffer]) -> None:
    """At once or not at all. Raises InvalidInputError."""
    beside = file.with_name(f".{file.name}.tmp")
    try:
        beside.write_text(dumps(offers), "utf-8")
        beside.replace(file)
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be written: {error.strerror}.") from None


def _is_confirmed() -> bool:
    if not sys.stdin.isatty():
        raise InvalidInputError("Nothing was published. Pass --yes to publish without asking.")
    return typer.confirm("Publish?")


def _describe(planned: Push, *, publishes: bool) -> list[str]:
    lines = [line for change in planned.changes for line in _describe_change(change)]
    if planned.unchanged:
        lines.append(f"Unchanged: {planned.unchanged}")
    if planned.absent:
        lines.append(f"Not in the file, left as they are: {', '.join(planned.absent)}")
    if planned.unpublished and not publishes:
        lines.append(f"Drafts that --publish would put on sale: {planned.unpublished}")
    return lines


def _describe_change(change: OfferPush) -> list[str]:
    code, before = change.offer.code, change.before
    values = change.changed.items()
    if before is None:
        shown = [f"    {name}: {_shown(new)}" for name, (_, new) in values if new is not None]
        return [f"+ {code} (new)", *shown]
    lines = [f"~ {code} ({_standing(change)})"]
    lines += [f"    {name}: {_shown(old)} -> {_shown(new)}" for name, (old, new) in values]
    if change.publishes and not change.changed:
        by = f" by {before.draft.edited_by_name}" if before.draft.edited_by_name else ""
        lines.append(f"    publishes the draft saved{by}")
    if change.archives is not None:
        lines.append("    archived: taken off sale" if change.archives else "    back on sale")
    return lines


def _standing(change: OfferPush) -> str:
    before = change.before
    assert before is not None
    if before.version is None:
        return "draft, never published"
    held = counted(before.accounts, "account")
    return f"version {before.version}; {held} keep{'s' if before.accounts == 1 else ''} their terms"


def _shown(value: Any) -> str:
    """Control characters are escaped."""
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
