from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from aiokit.flag import toggle


@click.command()
@toggle("--by-default-off", text="")
@toggle("--by-default-on", default=True, text="")
def command(by_default_off: bool, by_default_on: bool) -> None:
    click.echo((by_default_off, by_default_on))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (False, True)),
        (["--by-default-off", "--by-default-on=false"], (True, False)),
        (["--by-default-off=true", "--by-default-on"], (True, True)),
    ],
)
def test_a_toggle_is_bare_or_has_a_value(arguments: list[str], expected: tuple[bool, bool]) -> None:
    assert CliRunner().invoke(command, arguments).output.strip() == str(expected)


def test_another_word_is_refused() -> None:
    result = CliRunner().invoke(command, ["--by-default-on=perhaps"])
    assert result.exit_code == 2 and "perhaps" in result.output
