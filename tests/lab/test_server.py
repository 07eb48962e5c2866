"""How a cluster's server ends when it cannot go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from lab import server
from lab.errors import LabError
from lab.paths import LabPaths


def test_an_error_ends_it_in_one_line_and_not_in_a_trace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(lab: str) -> None:
        raise ExceptionGroup("tasks", [ExceptionGroup("inner", [LabError(f"etcd of {lab} ended")])])

    monkeypatch.setattr("lab.server.record.read", fail)
    monkeypatch.setattr("lab.server.configure", lambda level: None)  # the log is read here
    result = CliRunner().invoke(server.main, ["--lab", "nosuch", "--cluster", "east"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "ended: etcd of nosuch ended" in caplog.text
    assert not Path(LabPaths("nosuch").root).exists()
