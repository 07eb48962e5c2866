"""`clustermesh lab …`: whole clusters on this machine. Parses, calls the lab, renders; decides nothing.

Data on stdout, talk on stderr. The lab's modules are imported by the command that needs them: `lab exec`
must start fast.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import click

from aiokit.failure import first
from cli.examples import with_examples
from cli.labobjects import apply, delete, scale, service_ip
from cli.laboption import DEFAULT_LAB, fail, name_option, output_option, print_json, print_table, say


class LabGroup(click.Group):
    """Turns what goes wrong in the lab into plain lines on stderr and exit status 1."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return with_examples(ctx, cmd_name, super().get_command(ctx, cmd_name))

    def invoke(self, ctx: click.Context) -> Any:
        from lab.errors import LabError, MissingRequirementError  # noqa: PLC0415 - see the module

        try:
            return super().invoke(ctx)
        except MissingRequirementError as error:
            for line in error.missing:
                click.echo(f"Error: {line}", err=True)
            raise SystemExit(1) from None
        except (LabError, PermissionError) as error:
            fail(str(error))


@click.group(cls=LabGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--name", default=DEFAULT_LAB, show_default=True, help="The lab's name.")
@click.pass_context
def lab(context: click.Context, name: str) -> None:
    """Whole clusters on this machine, to try and to test: each node a network namespace, no containers."""
    context.obj = name


@lab.command()
@name_option
@click.option("--clusters", type=int, help="How many clusters (default: 2).")
@click.option("--nodes", type=int, default=2, show_default=True, help="Nodes a cluster, beside its control.")
@click.option("--cluster-names", help="Comma-separated names, instead of east,west,north,south,c5…")
@click.option(
    "--config",
    multiple=True,
    metavar="KEY=VALUE",
    help="A key of ConfigMap cilium-config in every cluster, such as routing-mode=native; repeat it.",
)
@output_option
@click.pass_obj
def up(  # noqa: PLR0917 - click gives them by name
    name: str,
    clusters: int | None,
    nodes: int,
    cluster_names: str | None,
    config: tuple[str, ...],
    output: str,
) -> None:
    """Start a lab; its kubeconfig's path is printed."""
    from lab import plan, preflight  # noqa: PLC0415 - see the module
    from lab import up as starting  # noqa: PLC0415 - see the module

    count = 2 if clusters is None else clusters
    names = cluster_names.split(",") if cluster_names else plan.default_cluster_names(count)
    if cluster_names and clusters is not None and clusters != len(names):
        fail(f"--clusters {clusters} and {len(names)} --cluster-names do not agree")
    settings = dict(each.partition("=")[::2] for each in config)
    if not all("=" in each for each in config):
        fail("--config takes KEY=VALUE")
    without_ipv6 = preflight.without_ipv6()
    if without_ipv6:
        say(without_ipv6)
    layout = plan.make(name, names, nodes, ipv6=without_ipv6 is None)
    try:
        kubeconfig = asyncio.run(_interruptible(starting.up(layout, say, settings)))
    except (asyncio.CancelledError, KeyboardInterrupt):
        say("interrupted; nothing is left")
        raise SystemExit(130) from None
    except BaseExceptionGroup as group:
        fail(_first(group))
    if output == "json":
        described = [
            {"name": c.name, "id": c.id, "nodes": [n.name for n in c.nodes]} for c in layout.clusters
        ]
        print_json({"lab": name, "kubeconfig": str(kubeconfig), "clusters": described})
    else:
        click.echo(kubeconfig)
        say(f"export KUBECONFIG={kubeconfig}; contexts: {', '.join(names)}")


@lab.command()
@name_option
@output_option
@click.pass_obj
def down(name: str, output: str) -> None:
    """Remove a lab, or whatever is left of it."""
    from lab import down as removing  # noqa: PLC0415 - see the module

    removed = removing.down(name)
    if output == "json":
        print_json(
            {
                "lab": name,
                "processes": removed.processes,
                "namespaces": removed.namespaces,
                "pins": removed.pins,
            }
        )
    elif removed.anything:
        say(f"lab {name} is gone: {removed.processes} processes, {removed.namespaces} namespaces")
    else:
        say(f"nothing is left of lab {name}")


@lab.command()
@name_option
@output_option
@click.pass_obj
def status(name: str, output: str) -> None:
    """Show a lab's clusters; exit 1 unless all of them answer."""
    from lab import overview  # noqa: PLC0415 - see the module

    clusters = overview.clusters(name)
    if output == "json":
        print_json({"lab": name, "clusters": clusters})
    else:
        rows = [
            (
                c["name"],
                c["id"],
                "up" if c["up"] else "down",
                c["nodes"],
                f"{c['ready']}/{c['pods']}",
                c["api"],
            )
            for c in clusters
        ]
        print_table(("CLUSTER", "ID", "STATE", "NODES", "PODS", "API"), rows)
    if not all(cluster["up"] for cluster in clusters):
        raise SystemExit(1)


@lab.command("ps")
@name_option
@output_option
@click.pass_obj
def ps(name: str, output: str) -> None:
    """List a lab's containers and their processes."""
    from lab import overview  # noqa: PLC0415 - see the module

    containers = overview.containers(name)
    if output == "json":
        print_json(containers)
    else:
        columns = ("cluster", "node", "namespace", "pod", "container", "pid", "ip", "ready", "restarts")
        print_table(
            tuple(column.upper() for column in columns),
            [tuple(each[column] for column in columns) for each in containers],
        )


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@name_option
@click.option("-c", "--container", default="", help="Which container (default: the first).")
@click.argument("cluster")
@click.argument("pod")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def exec_(name: str, container: str, cluster: str, pod: str, command: tuple[str, ...]) -> None:
    """Run COMMAND inside POD (its name, a beginning of it, or its Deployment's name)."""
    from lab.node import enter  # noqa: PLC0415 - see the module

    enter.become(name, cluster, pod, container, command)


@lab.command()
@name_option
@click.option("-c", "--container", default="", help="Which container (default: the first).")
@click.option("--tail", type=int, help="Only so many lines from the end.")
@click.argument("cluster")
@click.argument("pod", required=False)
@click.pass_obj
def logs(name: str, container: str, tail: int | None, cluster: str, pod: str | None) -> None:
    """Print what POD's container wrote; without POD, the cluster's own server."""
    from lab import overview  # noqa: PLC0415 - see the module

    sys.stdout.buffer.write(overview.log(name, cluster, pod, container, tail))


@lab.command(context_settings={"ignore_unknown_options": True})
@name_option
@click.argument("cluster")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def kubectl(name: str, cluster: str, arguments: tuple[str, ...]) -> None:
    """Run kubectl against CLUSTER."""
    from lab import record  # noqa: PLC0415 - see the module
    from lab.paths import LabPaths  # noqa: PLC0415 - see the module

    record.read(name).plan.cluster(cluster)
    environment = {**os.environ, "KUBECONFIG": str(LabPaths(name).kubeconfig)}
    try:
        os.execvpe("kubectl", ["kubectl", "--context", cluster, *arguments], environment)
    except FileNotFoundError:
        fail("kubectl is not installed")


async def _interruptible(work: Any) -> Any:
    """SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    """The first error's words; a group's own say nothing."""
    error = first(group)
    return str(error) or type(error).__name__


for command in (apply, delete, scale, service_ip):
    lab.add_command(command)
