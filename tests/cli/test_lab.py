"""`clustermesh lab`: options, errors and exit status; what the lab does is tested with the lab."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cli.lab import lab
from lab import overview


def test_help_names_every_subcommand_without_starting_anything() -> None:
    shown = CliRunner().invoke(lab, ["--help"])
    assert shown.exit_code == 0
    for name in ("up", "down", "status", "exec", "logs", "kubectl", "ps"):
        assert f"\n  {name}" in shown.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--name", "no-hyphens", "up"], "lab name 'no-hyphens'"),
        (["up", "--name", "no-hyphens"], "lab name 'no-hyphens'"),
        (["up", "--clusters", "3", "--cluster-names", "a,b"], "do not agree"),
        (["up", "--cluster-names", "a,a"], "the same name"),
        (["up", "--nodes", "0"], "0 nodes"),
        (["--name", "nosuch", "exec", "east", "web", "--", "true"], "lab nosuch is not up"),
        (["--name", "../etc", "down"], "lab name '../etc'"),
    ],
)
def test_a_mistake_is_one_plain_line_on_stderr(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(lab, arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_down_of_nothing_succeeds_and_says_so() -> None:
    result = CliRunner().invoke(lab, ["--name", "nosuch", "down", "-o", "json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"lab": "nosuch", "processes": 0, "namespaces": 0, "pins": 0}


def test_status_is_a_table_and_its_exit_status_tells_of_dead_clusters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = {"name": "east", "id": 1, "up": False, "nodes": 3, "pods": 4, "ready": 2, "api": ""}
    monkeypatch.setattr(overview, "clusters", lambda _: [told])
    result = CliRunner().invoke(lab, ["status"])
    assert result.exit_code == 1
    header, row = result.stdout.splitlines()
    assert header.split() == ["CLUSTER", "ID", "STATE", "NODES", "PODS", "API"]
    assert row.split() == ["east", "1", "down", "3", "2/4"]
    assert json.loads(CliRunner().invoke(lab, ["status", "-o", "json"]).stdout)["clusters"] == [told]
