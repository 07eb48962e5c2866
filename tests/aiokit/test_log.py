import json
import logging
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from aiokit import log


def test_an_unknown_level_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'loud' is not one of debug, info"):
        log.configure("loud")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = before, level


def test_lines_go_to_standard_error_with_the_facts_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("warning")
    logging.getLogger("mesh").warning("peer %s refused", "west")
    captured = capsys.readouterr()
    assert "level=WARNING logger=mesh msg=peer west refused" in captured.err
    assert captured.out == ""


def test_a_json_line_is_one_object_even_with_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        logging.getLogger("mesh").exception("peer lost name=%s failures=%d", "we st", 3)
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert said.pop("time").endswith("+00:00")
    assert "ValueError: broken" in said.pop("traceback")
    assert said == {"level": "error", "logger": "mesh", "msg": "peer lost", "name": "we st", "failures": 3}


@click.command()
@log.flags
def program() -> None:
    logging.getLogger("mesh").info("started port=%d", 7)


@pytest.mark.parametrize(
    "options", [["--log-opt", "format=json"], ["--log-opt", "level=info,format=json-ts"]]
)
def test_a_program_takes_ciliums_option(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    program.main(options, standalone_mode=False)
    assert json.loads(capsys.readouterr().err)["port"] == 7


@pytest.mark.parametrize("option", ["format=xml", "syslog.level=info", "format", "level=loud"])
def test_an_unknown_log_option_is_refused(option: str) -> None:
    result = CliRunner().invoke(program, ["--log-opt", option])
    assert result.exit_code == 2
    assert "--log-opt: " in result.output
