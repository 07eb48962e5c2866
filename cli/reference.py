"""The reference of all commands, made from the commands: `python -m cli.reference` writes docs/reference.

A page a command (or group) with the help that the program prints: it cannot tell another story.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from cli.__main__ import main as clustermesh
from cli.dbg.__main__ import main as clustermesh_dbg

DIRECTORY = Path(__file__).parent.parent / "docs" / "reference"
WIDTH = 100
PROGRAMS: Mapping[str, click.Command] = {"clustermesh": clustermesh, "clustermesh-dbg": clustermesh_dbg}


def pages() -> dict[str, str]:
    """File name -> content."""
    found = {"README.md": _contents()}
    for program, root in PROGRAMS.items():
        context = _context(root, program, None)
        for name, command in _children(root, context):
            found[f"{program}-{name}.md"] = _page(_context(command, name, context))
    return found


def leaves() -> Iterator[click.Context]:
    """Every command that does something, in its place."""
    for program, root in PROGRAMS.items():
        yield from _leaves(_context(root, program, None))


def write(directory: Path = DIRECTORY) -> None:
    """All pages, and no others."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for stale in directory.glob("*.md"):
        if stale.name not in wanted:
            stale.unlink()
    for name, text in wanted.items():
        (directory / name).write_text(text)


def _contents() -> str:
    lines = ["# Commands", "", "Made by `./run docs` from the commands themselves; a test keeps it true."]
    for program, root in PROGRAMS.items():
        context = _context(root, program, None)
        lines += ["", f"## {program}", "", _sentence(root), ""]
        lines += [
            f"* [{program} {name}]({program}-{name}.md): {_sentence(command)}"
            for name, command in _children(root, context)
        ]
    return "\n".join(lines) + "\n"


def _page(context: click.Context) -> str:
    parts = [f"# {context.command_path}\n"]
    for each in _all(context):
        if each is not context:
            parts.append(f"## {each.command_path}\n")
        parts.append(f"```\n{_help(each)}\n```\n")
    return "\n".join(parts)


def _all(context: click.Context) -> Iterator[click.Context]:
    yield context
    for name, command in _children(context.command, context):
        yield from _all(_context(command, name, context))


def _leaves(context: click.Context) -> Iterator[click.Context]:
    if not isinstance(context.command, click.Group):
        yield context
    for name, command in _children(context.command, context):
        yield from _leaves(_context(command, name, context))


def _children(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield name, child


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    settings = {**command.context_settings, "terminal_width": WIDTH}
    return click.Context(command, parent=parent, info_name=name, **settings)


def _help(context: click.Context) -> str:
    return "\n".join(line.rstrip() for line in context.command.get_help(context).splitlines())


def _sentence(command: click.Command) -> str:
    return " ".join((command.help or "").split("\n\n", 1)[0].split())


if __name__ == "__main__":
    write()
