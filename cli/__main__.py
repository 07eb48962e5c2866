"""The program `clustermesh`: finds the subcommand that was asked for and imports only that one."""

from __future__ import annotations

import click

from cli.lazy import Entry, LazyGroup

COMMANDS = {
    "apply": Entry("cli.plan", "apply", "Make clusters know each other as mesh.yaml says."),
    "certs": Entry("cli.certs.group", "certs", "The certificates of the mesh."),
    "checks": Entry("cli.checkgroup", "checks", "What is checked before clusters are connected."),
    "completion": Entry("cli.completion", "completion", "Print a shell's completion script."),
    "connect": Entry("cli.connect", "connect", "Connect this cluster with others."),
    "disable": Entry("cli.disable", "disable", "Take the mesh out of a cluster."),
    "disconnect": Entry("cli.disconnect", "disconnect", "Disconnect this cluster from others."),
    "enable": Entry("cli.enable", "enable", "Make a cluster ready to be connected."),
    "inspect-policy-default-local-cluster": Entry(
        "cli.inspect", "inspect", "Show which policies hang on policy-default-local-cluster."
    ),
    "lab": Entry("cli.lab", "lab", "Whole clusters on this machine, to try and to test."),
    "plan": Entry("cli.plan", "plan", "Show what apply would change."),
    "post-uninstall-cleanup": Entry(
        "cli.nodecleanup", "post_uninstall_cleanup", "Remove what stopped agents left on a cluster's nodes."
    ),
    "service": Entry("cli.servicegroup", "service", "Which clusters serve a service, and why not."),
    "status": Entry("cli.status", "status", "Show a cluster's peers as all its agents see them."),
    "trace": Entry("cli.trace", "trace", "Tell the way of a new connection, and who decides about it."),
    "troubleshoot": Entry("cli.troubleshoot", "troubleshoot", "Walk the ways to the peers, step by step."),
    "verify": Entry("cli.verify", "verify", "Compare every node's kernel with what its agent wants."),
    "version": Entry("cli.version", "version", "Print the version of this program."),
}


@click.command(
    cls=LazyGroup,
    entries=COMMANDS,
    program="clustermesh",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """Join Kubernetes clusters into one mesh: shared identities, shared services."""


if __name__ == "__main__":
    main(prog_name="clustermesh")
