"""The subcommand `clustermesh-apiserver certgen`: parse, then call."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from aiokit import log
from aiokit.signals import wait_terminated
from clustermesh_apiserver import certgen
from k8s import access
from k8s.client import connect
from k8s.errors import KubernetesError


@click.command("certgen", context_settings={"auto_envvar_prefix": "CLUSTERMESH"})
@click.option("--namespace", default="kube-system", show_default=True, help="Namespace of the Secrets.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    envvar=["CLUSTERMESH_KUBECONFIG", "KUBECONFIG"],
    help="Without it: the service account of the pod.",
)
@click.option("--watch", is_flag=True, help="Go on, and look every hour; without it: once, for a CronJob.")
@log.flags
def certgen_command(*, namespace: str, kubeconfig: Path | None, watch: bool) -> None:
    """Renew this cluster's certificates before they expire."""
    try:
        problems = asyncio.run(_run(namespace, kubeconfig, watch=watch))
    except (KubernetesError, TimeoutError) as error:
        raise click.ClickException(str(error)) from error
    if problems:
        raise click.ClickException("; ".join(problems))


async def _run(namespace: str, kubeconfig: Path | None, *, watch: bool) -> list[str]:
    async with connect(access.load_default(kubeconfig)) as client:
        if not watch:
            return await certgen.renew(client, namespace, datetime.now(UTC))
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(certgen.watch(client, namespace), name="certgen")
            await wait_terminated()
            watching.cancel()
    return []


command = certgen_command  # the name by which the program finds it
