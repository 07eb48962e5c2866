"""The program as a whole: quick to start, complete in its help, polite about nonsense."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from click.testing import CliRunner

from cli.__main__ import COMMANDS, main


def imported_by(*arguments: str) -> set[str]:
    """The modules that a run of the program has loaded in the end."""
    script = (
        "import sys\nfrom cli.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    return set(result.stderr.split())


@pytest.mark.parametrize("arguments", [("--help",), ("version",), ("completion", "bash")])
def test_what_needs_no_cluster_loads_no_client(arguments: tuple[str, ...]) -> None:
    heavy = {"kubernetes", "aiohttp", "grpc", "cryptography", "yaml", "pyroute2"}
    loaded = imported_by(*arguments)
    assert "cli.__main__" in loaded
    assert not heavy & loaded


def test_help_of_a_command_loads_no_client() -> None:
    loaded = imported_by("connect", "--help")
    assert "cli.connect" in loaded
    assert not {"kubernetes", "aiohttp.client", "grpc"} & loaded


def test_completing_a_command_loads_none() -> None:
    script = (
        "import sys\nfrom click.shell_completion import ShellComplete\nfrom cli.__main__ import main\n"
        "found = ShellComplete(main, {}, 'clustermesh', '_X').get_completions([], 's')\n"
        "print(*(each.value for each in found), *(name for name in sys.modules if name == 'cli.status'))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.split() == ["service", "status"]


def test_the_help_names_every_command() -> None:
    output = CliRunner().invoke(main, ["--help"]).output
    assert all(name in output for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"lab"}))
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["frobnicate"]).exit_code == 2


def test_the_version_is_data() -> None:
    result = CliRunner().invoke(main, ["version", "-o", "json"])
    assert set(msgspec.json.decode(result.stdout)) == {"version"}


@pytest.mark.parametrize("text", ["", "5", "m5", "5 m", "-1s", "1h30"])
def test_nonsense_is_no_duration(text: str) -> None:
    result = CliRunner().invoke(main, ["status", "--wait-duration", text])
    assert result.exit_code == 2
    assert "is not a duration" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stauts",), "No such command 'stauts'. (Did you mean 'status'?)"),
        (("certs", "renwe"), "No such command 'renwe'. (Did you mean 'renew'?)"),
        (("xyzzy",), "No such command 'xyzzy'.\n"),
        (("service", "status", "a/b/c"), "'a/b/c' is neither NAME nor NAMESPACE/NAME"),
        (("service", "status", "/web"), "'/web' is neither NAME nor NAMESPACE/NAME"),
        (
            ("connect", "--context", "east", "--destination-context", "west,east"),
            "east is this cluster itself: leave it out of --destination-context",
        ),
        (("lab", "up", "--clusters", "0"), "0 clusters: a lab has 1 to 99"),
    ],
)
def test_what_is_wrong_is_said_plainly(words: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code != 0
    assert said in result.output
