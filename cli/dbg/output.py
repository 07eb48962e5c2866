"""What `-o` says: a table for people, or the agent's own JSON, as it is, as YAML, or what a template takes of
it (spec 7.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cli.jsonpath import Template

TABLE = "table"
_JSONPATH = "jsonpath="


class Output:
    """`of` is for those that are no table."""

    def __init__(self, name: str, template: Template | None = None) -> None:
        self.name = name
        self._template = template

    def __str__(self) -> str:
        return self.name

    @property
    def is_table(self) -> bool:
        return self.name == TABLE

    def of(self, body: bytes) -> str:
        """Some JSON, with a line's end. Raises ValueError when it is none."""
        if self.name == "json":
            return body.decode().rstrip("\n") + "\n"
        import msgspec  # noqa: PLC0415 - help stays quick

        from cli import jsonpath, yamltext  # noqa: PLC0415

        found = msgspec.json.decode(body)
        if self._template is None:
            return yamltext.dumped(found)
        return jsonpath.rendered(self._template, found) + "\n"

    def of_object(self, value: Any) -> str:
        import msgspec  # noqa: PLC0415 - help stays quick

        return self.of(msgspec.json.encode(value))


class _Format(click.ParamType["Output"]):
    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        del param, ctx
        return "[table|json|yaml|jsonpath=TEMPLATE]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Output:
        if isinstance(value, Output):
            return value
        text = str(value)
        if text in (TABLE, "json", "yaml"):
            return Output(text)
        if not text.startswith(_JSONPATH):
            self.fail(f"{text!r} is none of table, json, yaml and jsonpath=TEMPLATE", param, ctx)
        from cli import jsonpath  # noqa: PLC0415 - help stays quick

        try:
            return Output(_JSONPATH, jsonpath.parse(text.removeprefix(_JSONPATH)))
        except jsonpath.JSONPathError as error:
            self.fail(f"no template: {error}", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        del ctx, param
        return [
            click.shell_completion.CompletionItem(word)
            for word in (TABLE, "json", "yaml", _JSONPATH)
            if word.startswith(incomplete)
        ]


def output_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add -o/--output; the command gets `output`, an Output."""
    return click.option(
        "-o",
        "--output",
        type=_Format(),
        default=default,
        show_default=True,
        help="Template: as kubectl's, like {.spec.id}.",
    )


with_output = output_option(TABLE)
