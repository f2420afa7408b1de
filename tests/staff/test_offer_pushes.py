"""`offers pull` and `offers push`, as an operator runs them, against the sandbox."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from billing_app.billing.staff.catalogue import offers
from tests.conftest import server_environment
from tests.payments.billing_harness import BillingHarness
from tests.processes import run_command
from tests.staff.test_offers import ANA, audit, create, edit, fields, publish, versions
from tests.stripe_sandbox.running import KEY

NEW = """
[offers.lite]
name = "Lite"
executions = 100
price_minor = 500
currency = "USD"
interval = "month"
"""


def run(harness: BillingHarness, *arguments: object) -> subprocess.CompletedProcess[str]:
    keys = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": harness.sandbox.url}
    environment = server_environment(harness.url, **keys)
    done = run_command(environment, "offers", *map(str, arguments))
    assert "Traceback" not in done.stderr
    return done


def accepted(harness: BillingHarness, *arguments: object) -> str:
    done = run(harness, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def refused(harness: BillingHarness, *arguments: object) -> str:
    done = run(harness, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@dataclass(frozen=True)
class CatalogueFile:
    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> str:
        return self.path.read_text()

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def change(self, code: str, before: str, after: str) -> None:
        """In the offer's table."""
        head, table, rest = self.read().partition(f"[offers.{code}]\n")
        assert before in rest.partition("[offers.")[0]
        self.write(head + table + rest.replace(before, after, 1))


@pytest.fixture
def file(tmp_path: Path) -> CatalogueFile:
    return CatalogueFile(tmp_path / "catalogue.toml")


async def test_round_trip_shows_no_difference(harness: BillingHarness, file: CatalogueFile) -> None:
    await create(harness)
    accepted(harness, "pull", file)
    first = file.read()
    told = accepted(harness, "push", file, "--publish", "--yes", "--dry-run")
    assert (
        told
        == "~ team (draft, never published)\n    publishes the draft saved by Ana\nUnchanged: 6\n"
    )
    await publish(harness, 1)
    assert accepted(harness, "push", file, "--publish", "--yes") == "Unchanged: 7\n"
    accepted(harness, "pull", file)
    assert file.read() == first
    assert audit(harness)[2:] == []


async def test_push_saves_drafts_and_changes_nothing_that_is_sold(
    harness: BillingHarness, file: CatalogueFile
) -> None:
    await harness.subscribed("starter")
    accepted(harness, "pull", file)
    file.change("scale", "price_minor = 29900", "price_minor = 31900")
    file.change("starter", 'name = "Starter"', 'name = "Basic"')
    file.write(file.read() + NEW)
    told = accepted(harness, "push", file)
    assert "+ lite (new)\n" in told
    assert '~ starter (version 1; 1 account keeps their terms)\n    name: "Starter"' in told
    assert "~ scale (version 1; 0 accounts keep their terms)\n    price_minor: 29900" in told
    assert told.endswith("Saved as drafts: 3 offers.\n")
    assert [row[1] for row in versions(harness, "scale")] == [29_900]
    assert versions(harness, "lite") == []
    assert {row[2] for row in audit(harness)} == {"Command line"}
    waiting = "Unchanged: 7\nDrafts that --publish would put on sale: 3\n"
    assert accepted(harness, "push", file) == waiting


async def test_publishing_needs_a_confirmation_and_leaves_customers_their_version(
    harness: BillingHarness, file: CatalogueFile
) -> None:
    await harness.subscribed("starter")
    accepted(harness, "pull", file)
    file.change("starter", 'name = "Starter"', 'name = "Basic"')
    file.write(file.read() + NEW)
    assert "Pass --yes" in refused(harness, "push", file, "--publish")
    assert versions(harness, "lite") == []
    told = accepted(harness, "push", file, "--publish", "--yes", "--reason", "New prices")
    assert told.endswith("Published: 2 offers.\n")
    assert [row[:2] for row in versions(harness, "lite")] == [(1, 500)]
    assert (await harness.live()).offer.name == "Starter"
    detail = await offers.read_offer(harness.services.database, ANA, "starter", harness.now)
    assert [(each.version, each.accounts) for each in detail.versions] == [(2, 0), (1, 1)]
    assert ("New prices",) in harness.rows("SELECT DISTINCT reason FROM audit_entries")
    assert accepted(harness, "push", file, "--publish", "--yes") == "Unchanged: 7\n"


async def test_edit_in_the_console_meanwhile_is_refused(
    harness: BillingHarness, file: CatalogueFile
) -> None:
    await create(harness)
    accepted(harness, "pull", file)
    await edit(harness, 1, fields(price_minor=3_000))
    file.change("team", "price_minor = 2500", "price_minor = 4000")
    file.change("starter", 'name = "Starter"', 'name = "Basic"')
    told = refused(harness, "push", file)
    assert "Offer team was edited since the file was pulled: Ana changed price_minor" in told
    detail = await offers.read_offer(harness.services.database, ANA, "starter", harness.now)
    assert detail.row.draft.fields.terms.name == "Starter"
    accepted(harness, "pull", file)
    file.change("team", "price_minor = 3000", "price_minor = 4000")
    assert accepted(harness, "push", file).endswith("Saved as drafts: 1 offer.\n")
    file.change("team", "price_minor = 4000", "price_minor = 4500")
    assert accepted(harness, "push", file).endswith("Saved as drafts: 1 offer.\n")


async def test_file_of_another_installation(harness: BillingHarness, file: CatalogueFile) -> None:
    await create(harness)
    accepted(harness, "pull", file)
    file.write(file.read().replace("offers.team", "offers.crew"))
    assert "Offer crew does not exist here" in refused(harness, "push", file)
    accepted(harness, "pull", file, "--without-revisions")
    text = file.read().replace("offers.team", "offers.crew")
    assert "revision" not in text
    file.write(text)
    told = accepted(harness, "push", file)
    assert "Not in the file, left as they are: team" in told
    assert file.read() == text


async def test_archived_offers(harness: BillingHarness, file: CatalogueFile) -> None:
    accepted(harness, "pull", file)
    file.change("starter", "archived = false", "archived = true")
    assert accepted(harness, "push", file) == "Unchanged: 6\n"
    told = accepted(harness, "push", file, "--publish", "--yes")
    assert "~ starter" in told
    assert "archived: taken off sale" in told
    file.change("starter", 'name = "Starter"', 'name = "Basic"')
    assert "Offer starter is archived" in refused(harness, "push", file)
    file.change("starter", "archived = true", "archived = false")
    assert "back on sale" in accepted(harness, "push", file, "--publish", "--yes")
    detail = await offers.read_offer(harness.services.database, ANA, "starter", harness.now)
    assert (detail.row.state, detail.row.version) == ("published", 2)


async def test_unusable_files_are_one_line(harness: BillingHarness, file: CatalogueFile) -> None:
    assert "cannot be read" in refused(harness, "push", file)
    file.path.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in refused(harness, "push", file)
    file.write("[offers.Bad_Code]" + NEW.partition("]")[2])
    assert "offers.Bad_Code: a code has" in refused(harness, "push", file)
    assert "cannot be written" in refused(harness, "pull", file.path.parent / "missing" / "x.toml")
