"""The client as others get it: its wheel, alone in an environment of its own."""

import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def build_wheel(directory: Path) -> Path:
    """As `make client` does, from a copy: a build in the source folder would be seen by others."""
    source = directory / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "billing_app" / "client", source, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--wheel-dir", str(directory)]
    subprocess.run([*pip, str(source)], check=True, timeout=300)
    (wheel,) = directory.glob("billing_client-*.whl")
    return wheel


def install_alone(wheel: Path, directory: Path) -> Path:
    """A fresh environment with the wheel and what it declares, and what that declares; nothing
    else. Returns its Python. The dependencies are copies of this environment's."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    python = directory / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-qq", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True, timeout=300)
    (packages,) = directory.glob("lib/python*/site-packages")
    (metadata,) = packages.glob("billing_client-*.dist-info/METADATA")
    for name in closure(declared(metadata.read_text())):
        copy_distribution(name, packages)
    return python


def declared(metadata: str) -> set[str]:
    """Names in the wheel's Requires-Dist."""
    lines = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    return {Requirement(line.partition(":")[2].strip()).name for line in lines}


def closure(names: set[str]) -> set[str]:
    """With everything that they need here, extras aside."""
    found: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for text in distribution(name).requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def copy_distribution(name: str, packages: Path) -> None:
    for file in distribution(name).files or []:
        if ".." in file.parts or "__pycache__" in file.parts:
            continue
        target = packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(file.locate()), target)
