from __future__ import annotations

from pathlib import Path

import msgspec
from click.testing import CliRunner

from cli.dbg.__main__ import main
from tests.conftest import free_port


def test_a_peer_that_cannot_be_reached_is_named_and_the_exit_status_says_so(tmp_path: Path) -> None:
    (tmp_path / "west").write_text(f"endpoints: ['http://127.0.0.1:{free_port()}']\n")
    at = ["troubleshoot", "clustermesh", "--clustermesh-config", str(tmp_path)]
    result = CliRunner().invoke(main, [*at, "west"])
    assert result.exit_code == 1
    assert 'Cluster "west":' in result.output
    assert "TCP connection to 127.0.0.1" in result.output
    result = CliRunner().invoke(main, [*at, "-o", "json"])
    assert [found["name"] for found in msgspec.json.decode(result.stdout)] == ["west"]


def test_a_directory_without_peers_is_no_trouble(tmp_path: Path) -> None:
    at = ["troubleshoot", "clustermesh", "--clustermesh-config", str(tmp_path)]
    result = CliRunner().invoke(main, at)
    assert result.exit_code == 0
    assert "no peer is configured" in result.output
    result = CliRunner().invoke(main, ["troubleshoot", "kvstore", "--etcd-config", str(tmp_path / "absent")])
    assert result.exit_code == 1
    assert "No such file" in result.output
