"""The wheel works alone: httpx, msgspec, and nothing of the app."""

import json
import subprocess
from pathlib import Path

import pytest

from billing_app import __version__
from billing_app.client.version import __version__ as client_version
from tests.api.server import ApiServer
from tests.client.installed import ROOT, closure, declared
from tests.client.test_retries import used
from tests.factories import Holder

COUNT = """
import json, sys
import billing_client
from billing_client import Billing, asgi, wsgi

url, key, organization = sys.argv[1:]
with Billing(url, key) as billing, billing.run(organization, executions=3) as run:
    run.use(2)
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps({
    "used": run.settlement.executions_used,
    "ours": sorted(loaded & {"billing_app", "fastapi", "pydantic", "reflex", "sqlalchemy"}),
    "file": billing_client.__file__,
}))
"""


def test_wheel_counts_an_execution_alone(
    client_python: Path,
    server: ApiServer,
    key: str,
    holder: Holder,
    client_database_url: str,
    tmp_path: Path,
) -> None:
    arguments = [client_python, "-I", "-c", COUNT, server.url, key, holder.organization_id]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["used"], found["ours"]) == (2, [])
    assert Path(found["file"]).is_relative_to(client_python.parent.parent)
    assert used(client_database_url, holder) == (2, 0)


def test_wheel_is_typed_and_declares_httpx_and_msgspec_only(client_python: Path) -> None:
    (packages,) = client_python.parent.parent.glob("lib/python*/site-packages")
    (metadata,) = packages.glob("billing_client-*.dist-info/METADATA")
    assert declared(metadata.read_text()) == {"httpx", "msgspec"}
    assert (packages / "billing_client" / "py.typed").exists()
    installed = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert installed == {"billing_client", *closure({"httpx", "msgspec"})}


def test_version_is_the_servers() -> None:
    assert client_version == __version__


def test_make_builds_the_wheel(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "client", f"DIST={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "billing_app/client" in done.stdout


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "billing_app/client").glob("*.py"))
)
def test_modules_import_only_their_neighbours(name: str) -> None:
    """The package is called differently when it is installed."""
    text = (ROOT / "billing_app" / "client" / f"{name}.py").read_text()
    assert "import billing_app" not in text
    assert "from billing_app" not in text
