"""Where dependencies cannot be audited, one line says why."""

import sys

import httpx
import pytest

from tests import audit


def test_missing_tool_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "find_spec", lambda _: None)
    assert audit.why_skipped() == "pip-audit is not installed"


def test_database_out_of_reach_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "find_spec", lambda _: object())
    monkeypatch.setattr(audit, "DATABASE", "http://127.0.0.1:9/")
    assert audit.why_skipped() == ("the vulnerability database cannot be reached (ConnectError)")


def test_found_vulnerabilities_fail_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def get(*_: object, **__: object) -> httpx.Response:
        return httpx.Response(200)

    monkeypatch.setattr(audit, "find_spec", lambda _: object())
    monkeypatch.setattr(httpx, "get", get)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert audit.main() == 1
    assert capsys.readouterr().out == ""
