"""The program `clustermesh`: finds the subcommand that was asked for and imports only that one."""

from __future__ import annotations

import importlib

import click

# name -> where it is (a click command of the same name), and its line in the help, which imports nothing
COMMANDS = {
    "completion": ("cli.completion", "Print a shell's completion script."),
    "connect": ("cli.connect", "Connect this cluster with others."),
    "disable": ("cli.disable", "Take the mesh out of a cluster."),
    "disconnect": ("cli.disconnect", "Disconnect this cluster from others."),
    "enable": ("cli.enable", "Make a cluster ready to be connected."),
    "lab": ("cli.lab", "Whole clusters on this machine, to try and to test."),
    "status": ("cli.status", "Show a cluster's peers as all its agents see them."),
    "version": ("cli.version", "Print the version of this program."),
}


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.command(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
def main() -> None:
    """Join Kubernetes clusters into one mesh: shared identities, shared services."""


if __name__ == "__main__":
    main(prog_name="clustermesh")
