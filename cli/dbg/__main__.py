"""The program `clustermesh-dbg`: what one agent knows, over its unix socket."""

from __future__ import annotations

import click

from cli.dbg.agent import HOST_VARIABLE, SOCKET
from cli.lazy import Entry, LazyGroup

_GROUPS = "cli.dbg.group"
_HELP = {"help_option_names": ["-h", "--help"]}

COMMANDS = {
    "bpf": Entry(_GROUPS, "bpf", "Kernel maps."),
    "endpoint": Entry(_GROUPS, "endpoint", "Local endpoints."),
    "identity": Entry(_GROUPS, "identity", "Security identities."),
    "kvstore": Entry(_GROUPS, "kvstore", "Keys and values of the mesh."),
    "map": Entry(_GROUPS, "maps", "Kernel maps by name."),
    "monitor": Entry("cli.dbg.monitor", "monitor", "Show packets as they are dropped or forwarded."),
    "node": Entry(_GROUPS, "node", "Nodes of all clusters."),
    "nodeid": Entry(_GROUPS, "node_ids", "Nodes' numbers on this node."),
    "post-uninstall-cleanup": Entry(
        "cli.dbg.cleanup", "post_uninstall_cleanup", "Remove what a stopped agent left on this node."
    ),
    "service": Entry(_GROUPS, "service", "Services and their backends."),
    "status": Entry("cli.dbg.status", "status", "Show the agent's state."),
    "trace": Entry("cli.dbg.trace", "trace", "Tell the way of a new connection, and who decides about it."),
    "troubleshoot": Entry(_GROUPS, "troubleshoot", "Find out why an etcd cannot be reached."),
    "verify": Entry("cli.dbg.verify", "verify", "Compare the kernel with what the agent wants."),
    "version": Entry("cli.version", "version", "Print the version of this program."),
}


@click.command(cls=LazyGroup, entries=COMMANDS, program="clustermesh-dbg", context_settings=_HELP)
@click.option("-H", "--host", envvar=HOST_VARIABLE, default=SOCKET, show_default=True, help="Agent's socket.")
@click.pass_context
def main(ctx: click.Context, host: str) -> None:
    """Look into one agent."""
    ctx.obj = host


if __name__ == "__main__":
    main(prog_name="clustermesh-dbg")
