"""What compose.yaml and the Dockerfile say, read as Compose reads it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
VARIABLE: Final = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
# What docs/how-to/deploy.md puts into .env.
DOT_ENV: Final = {
    "DOMAIN": "billing.example.com",
    "POSTGRES_PASSWORD": "a-password",
    "TRIAL_PLAN_EXECUTIONS": "1000",
    "PUBLIC_ORG_ID": "public",
}


@dataclass(frozen=True, slots=True)
class Service:
    command: list[str]
    environment: dict[str, str]
    replicas: int


def services(variables: Mapping[str, str] = DOT_ENV) -> dict[str, Service]:
    """The services of compose.yaml. Raises KeyError for a variable that is required and not set."""
    document = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return {
        name: Service(
            command=_filled(service.get("command", []), variables),
            environment=_filled(service.get("environment", {}), variables),
            replicas=int(_filled(service.get("deploy", {}), variables).get("replicas", 1)),
        )
        for name, service in document["services"].items()
    }


def dockerfile_command(instruction: str) -> list[str]:
    """The last `ENTRYPOINT […]`, `CMD […]` or `HEALTHCHECK … CMD […]` of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith(f"{instruction} ")]
    command: list[str] = json.loads("[" + lines[-1].partition("[")[2])
    return command


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(part, variables) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, variables) for part in value]
    return VARIABLE.sub(lambda found: _value(found, variables), str(value))


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    name, kind, default = found.groups()
    return variables.get(name, default) if kind == "-" else variables[name]
