"""Lints the deploy files with the tools of their trade: `python -m tests.deploy.lint [FOLDER]`.

`requirements-lint.txt` brings the tools; Caddy comes with `requirements.txt`, systemd-analyze with
the system. A tool that is missing is said to be missing, and its files are not linted.
"""

import importlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
SCRIPTS: Final = Path(sys.executable).parent
CHART: Final = "deploy/helm/billing-app"
# The oldest that the chart allows, and the newest.
KUBERNETES_VERSIONS: Final = ("1.27", "1.37")
INSTALLED_AT: Final = "/opt/billing-app/.venv/bin/python"
INSTANCE_PORT: Final = "3001"
REQUIRED_VALUES: Final[dict[str, Any]] = {
    "settings": {
        "PUBLIC_URL": "https://billing.example.com",
        "PUBLIC_ORG_ID": "public",
        "TRIAL_PLAN_EXECUTIONS": 1000,
    },
    "existingSecret": "billing",
    "ingress": {"host": "billing.example.com"},
}
# What the templates do on a condition is on in one of these.
VALUE_SETS: Final[tuple[dict[str, Any], ...]] = (
    REQUIRED_VALUES,
    {
        **REQUIRED_VALUES,
        "image": {"tag": "0.3.0"},
        "imagePullSecrets": [{"name": "registry"}],
        "api": {"autoscaling": {"decisionsPerSecond": 800}},
        "ingress": {
            "host": "billing.example.com",
            "className": "nginx",
            "tlsSecret": "billing-tls",
            "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt"},
        },
        "podAnnotations": {"prometheus.io/scrape": "true"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "billing", "operator": "Exists"}],
    },
    {
        **REQUIRED_VALUES,
        "api": {"replicas": 3, "autoscaling": {"enabled": False}},
        "ingress": {"enabled": False},
    },
)


class MissingToolError(Exception):
    """The message says which, and where it comes from."""


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    failures = 0
    for lint in LINTS:
        name = lint.__name__.replace("_", " ")
        try:
            problems = lint(root)
        except MissingToolError as missing:
            print(f"skipped: {name}: {missing}")
            continue
        if problems:
            failures += 1
            print(f"{name}:\n{problems}")
    return min(failures, 1)


def dockerfile(root: Path) -> str:
    return _run(_tool("hadolint"), "Dockerfile", directory=root)


def compose_file(root: Path) -> str:
    tool = _tool("check-jsonschema")
    return _run(tool, "--builtin-schema", "vendor.compose-spec", "compose.yaml", directory=root)


def caddyfile(root: Path) -> str:
    tool = _tool("caddy")
    path = "deploy/caddy/Caddyfile"
    problems = _run(tool, "validate", "--adapter", "caddyfile", "--config", path, directory=root)
    return problems or _run(tool, "fmt", "--diff", path, directory=root)


def systemd_units(root: Path) -> str:
    tool = _tool("systemd-analyze")
    with tempfile.TemporaryDirectory() as directory:
        for unit in sorted((root / "deploy/systemd").iterdir()):
            copy = Path(directory) / unit.name.replace("@", f"@{INSTANCE_PORT}")
            copy.write_text(unit.read_text().replace(INSTALLED_AT, sys.executable))
        units = sorted(str(path) for path in Path(directory).iterdir())
        command = [tool, "verify", "--man=no", *units]
        # Unknown keys are warnings that leave the status 0, among those about the system's units.
        said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
        ours = [line for line in said.splitlines() if "billing-app" in line]
    return "\n".join(ours)


def values_schema(root: Path) -> str:
    path = f"{CHART}/values.schema.json"
    return _run(_tool("check-jsonschema"), "--check-metaschema", path, directory=root)


def helm_chart(root: Path) -> str:
    """`helm lint --strict` and `helm template` of Helm's own code; then Kubernetes' schemas."""
    chart = _helm()
    tool = _tool("kubernetes-validate")
    for values in VALUE_SETS:
        if problems := _lint_chart(chart, root / CHART, values):
            return problems
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as manifests:
            manifests.write("\n---\n".join(render(root / CHART, values).values()))
            manifests.flush()
            for version in KUBERNETES_VERSIONS:
                options = ("--strict", "--kubernetes-version", version)
                if problems := _run(tool, *options, manifests.name, directory=root):
                    return problems
    return ""


LINTS: Final[tuple[Callable[[Path], str], ...]] = (
    dockerfile,
    compose_file,
    caddyfile,
    systemd_units,
    values_schema,
    helm_chart,
)


def render(chart: Path, values: dict[str, Any]) -> dict[str, str]:
    """`helm template`: manifests by the path of their template.

    Raises MissingToolError without Helm, and its own error for values that the chart refuses.
    """
    with _helm().Chart.load(chart) as loaded:
        manifests: dict[str, str] = loaded.render(values, name="billing")
    return {path: text for path, text in manifests.items() if text.strip()}


def _lint_chart(chart: Any, path: Path, values: dict[str, Any]) -> str:
    report = chart.lint(path, values, strict=True)
    problems = [*report["errors"], *(m for m in report["messages"] if m["severity"] > 1)]
    return "\n".join(json.dumps(problem) for problem in problems)


def _helm() -> Any:
    try:
        return importlib.import_module("helm_python.chart")
    except ImportError:
        raise MissingToolError("helm-python-sdk is not installed (make lint does)") from None


def _tool(name: str) -> str:
    own = SCRIPTS / name
    found = str(own) if own.is_file() else shutil.which(name)
    if found is None:
        raise MissingToolError(f"{name} is not installed")
    return found


def _run(*command: str, directory: Path) -> str:
    """What the tool said, if it found something."""
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    return result.stdout + result.stderr if result.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
