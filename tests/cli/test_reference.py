"""The reference is what the commands say, and every command says how it is used."""

from __future__ import annotations

import subprocess
import sys

import click
import msgspec
import pytest

from cli import reference
from cli.examples import EXAMPLES, path

LEAVES = {context.command_path: context for context in reference.leaves()}


def test_the_pages_are_current() -> None:
    stored = {file.name: file.read_text() for file in reference.DIRECTORY.glob("*.md")}
    # in a process of its own: click keeps help options that were made when tests invoked a command alone
    script = (
        "import json, sys; from cli.reference import pages; sys.stdout.reconfigure(encoding='utf-8'); "
        "print(json.dumps(pages()))"
    )
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=30).stdout
    wanted = msgspec.json.decode(made, type=dict[str, str])
    assert stored.keys() == wanted.keys(), "run ./run docs"
    for name, text in wanted.items():
        assert stored[name] == text, f"{name} is out of date: run ./run docs"


@pytest.mark.parametrize("command", LEAVES, ids=str)
def test_every_command_has_an_example_that_begins_with_it(command: str) -> None:
    text = LEAVES[command].command.get_help(LEAVES[command])
    assert "Example" in text
    assert text.split("Example", 1)[1].count(command) >= 1


def test_no_example_is_for_a_command_that_is_not_there() -> None:
    assert set(EXAMPLES) <= set(LEAVES)


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_options_of_every_example_exist(command: str) -> None:
    context = LEAVES[command]
    known = {name for each in context.command.params for name in (*each.opts, *each.secondary_opts)}
    for line in EXAMPLES[command]:
        words = line.partition(" -- ")[0].split()
        used = {word.partition("=")[0] for word in words if word.startswith("-")}
        if context.command_path != "clustermesh lab kubectl":  # its words are kubectl's
            assert used <= known | {"--help"}, line


def test_the_words_that_lead_to_a_group_do_not_depend_on_the_programs_name() -> None:
    root = click.Context(reference.PROGRAMS["clustermesh-dbg"], info_name="python -m cli.dbg")
    assert path(root) == "clustermesh-dbg"
