"""README and docs name only what exists: files, links, settings, routes, commands, error codes."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
from fastapi import FastAPI
from opentelemetry import environment_variables
from opentelemetry.sdk import environment_variables as sdk_environment_variables
from typer.main import get_command

import billing_app
from billing_app.billing.errors import BillingError
from billing_app.db.enums import DenialReason
from billing_app.settings import DEMO_FLAG, Settings

ROOT = Path(__file__).parent.parent
DOCS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
FOLDERS = ("billing_app/", "docs/", "tests/", "alembic/", "assets/", ".ci/", "deploy/")
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
SETTING = re.compile(r"^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$")
# Variables of tools, of the tutorial and of constants that the docs explain.
NOT_SETTINGS = {
    "CITUS_DATABASE_URL",
    "CITUS_KILL_NODE",
    "CITUS_START_NODE",
    "IN_ROW",
    "PROMETHEUS_MULTIPROC_DIR",
    "STRIPE_TEST_KEY",
    DEMO_FLAG,
}
# Of compose.yaml and the Caddyfile.
NOT_SETTINGS |= {
    "API_REPLICAS",
    "API_UPSTREAMS",
    "PAGES_UPSTREAMS",
    "POSTGRES_PASSWORD",
    "SITE_ADDRESS",
}
# Of OpenTelemetry.
OTEL = vars(environment_variables) | vars(sdk_environment_variables)
NOT_SETTINGS |= {name for name in OTEL if name.startswith("OTEL_")}
# Of the repair that docs/how-to/add-a-repair.md adds.
EXAMPLES = {"/plans/{}/end", "/billing/admin/plans/{}/end"}
ROUTE = re.compile(r"(GET|POST|PUT|DELETE) (/[\w/{}.-]+)")
COMMAND = re.compile(r"-m billing_app ([a-z][a-z-]*)(?: ([a-z-]+))?")
TARGET = re.compile(r"\bmake ([a-z]+)\b")


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    broken: list[str] = []
    for link in LINK.findall(path.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_exist(path: Path) -> None:
    named = [code.split("::")[0].rstrip("/") for code in CODE.findall(path.read_text())]
    paths = [name for name in named if name.startswith(FOLDERS) and " " not in name]
    assert [name for name in paths if not list(ROOT.glob(name))] == []


def test_every_setting_is_documented() -> None:
    settings = {name.upper() for name in Settings.model_fields}
    reference = (ROOT / "docs/reference/settings.md").read_text()
    assert {code for code in CODE.findall(reference) if SETTING.match(code)} >= settings
    named = {code for path in DOCS for code in CODE.findall(path.read_text())}
    exported = {
        name
        for path in DOCS
        for name in re.findall(r"\b([A-Z_]+)=", path.read_text())
        if not name.startswith("BILLING_")
    }
    unknown = {name for name in named | exported if SETTING.match(name)} - settings
    assert unknown - NOT_SETTINGS == set()


def test_routes_exist(openapi_paths: dict[str, set[str]]) -> None:
    unknown: list[str] = []
    for path in DOCS:
        for method, route in ROUTE.findall(path.read_text()):
            shape = re.sub(r"\{\w+\}", "{}", route.rstrip("."))
            is_known = method.lower() in openapi_paths.get(shape, set())
            if not is_known and shape not in EXAMPLES:
                unknown.append(f"{method} {route}")
    assert unknown == []


@pytest.fixture(scope="module")
def openapi_paths() -> dict[str, set[str]]:
    """Methods of each path, with its parameters' names left out."""
    from billing_app.api.app import create_app

    app: object = create_app()
    while not isinstance(app, FastAPI):
        app = app._app  # pyright: ignore[reportAttributeAccessIssue]
    return {
        re.sub(r"\{\w+\}", "{}", path): set(methods)
        for path, methods in app.openapi()["paths"].items()
    }


def test_commands_and_targets_exist() -> None:
    from billing_app.cli.main import app

    commands = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    makefile = (ROOT / "Makefile").read_text()
    for path in DOCS:
        text = path.read_text()
        for name, second in COMMAND.findall(text):
            assert name in commands, f"{path}: {name}"
            inner = getattr(commands[name], "commands", None)
            assert inner is None or second in inner, f"{path}: {name} {second}"
        for target in TARGET.findall("\n".join(CODE.findall(text))):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{path}: make {target}"
    reference = (ROOT / "docs/reference/command-line.md").read_text()
    assert [name for name in commands if f"`{name}" not in reference] == []


def test_every_error_code_is_documented() -> None:
    for module in walk_packages(billing_app.__path__, "billing_app."):
        if module.name.startswith(("billing_app.api", "billing_app.billing.", "billing_app.pay")):
            import_module(module.name)
    text = (ROOT / "docs/reference/error-codes.md").read_text()
    documented = set(re.findall(r"^\| \d+ \| `(\w+)`", text, re.MULTILINE))
    assert documented == {kind.code for kind in kinds(BillingError)}


def test_every_denial_has_a_way_out() -> None:
    text = (ROOT / "docs/how-to/why-refused.md").read_text()
    explained = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", text, re.MULTILINE)
    reasons = [reason.value for reason in DenialReason]
    assert sorted(explained) == sorted(["code", *reasons])


def kinds(base: type[BillingError]) -> Iterator[type[BillingError]]:
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)
