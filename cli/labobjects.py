"""`clustermesh lab apply|delete|scale`: objects into a lab's cluster, for machines without kubectl."""

from __future__ import annotations

import asyncio
from typing import IO, Any

import click

from cli.laboption import fail, name_option


@click.command()
@name_option
@click.argument("cluster")
@click.argument("file", type=click.File("rb"))
@click.pass_obj
def apply(name: str, cluster: str, file: IO[bytes]) -> None:
    """Create or change the objects of FILE (YAML; - is standard input) in CLUSTER."""
    from lab import objectfile  # noqa: PLC0415 - see cli.lab

    for line in _run(objectfile.apply(name, cluster, file.read())):
        click.echo(line)


@click.command()
@name_option
@click.argument("cluster")
@click.argument("file", type=click.File("rb"))
@click.pass_obj
def delete(name: str, cluster: str, file: IO[bytes]) -> None:
    """Delete the objects that FILE names from CLUSTER."""
    from lab import objectfile  # noqa: PLC0415 - see cli.lab

    for line in _run(objectfile.delete(name, cluster, file.read())):
        click.echo(line)


@click.command()
@name_option
@click.option("-n", "--namespace", default="default", show_default=True)
@click.argument("cluster")
@click.argument("deployment")
@click.argument("replicas", type=click.IntRange(min=0))
@click.pass_obj
def scale(name: str, namespace: str, cluster: str, deployment: str, replicas: int) -> None:
    """Set how many pods DEPLOYMENT has in CLUSTER."""
    from lab import objectfile  # noqa: PLC0415 - see cli.lab

    click.echo(_run(objectfile.scale(name, cluster, deployment, replicas, namespace)))


@click.command("service-ip")
@name_option
@click.option("-n", "--namespace", default="default", show_default=True)
@click.option("--ipv6", is_flag=True, help="The one of IPv6, of a Service that has both.")
@click.argument("cluster")
@click.argument("service")
@click.pass_obj
def service_ip(name: str, namespace: str, ipv6: bool, cluster: str, service: str) -> None:
    """Print the ClusterIP of SERVICE in CLUSTER."""
    from lab import objectfile  # noqa: PLC0415 - see cli.lab

    click.echo(_run(objectfile.service_ip(name, cluster, service, namespace, ipv6=ipv6)))


def _run(work: Any) -> Any:
    from k8s.errors import KubernetesError  # noqa: PLC0415 - see cli.lab

    try:
        return asyncio.run(work)
    except KubernetesError as error:
        fail(str(error))
