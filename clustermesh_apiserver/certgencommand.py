"""The subcommand `clustermesh-apiserver certgen`: parse, then call."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import click

from aiokit import log
from aiokit.signals import wait_terminated
from certs.issue import VALIDITY
from clustermesh_apiserver import certgen
from clustermesh_apiserver.certgen import Wanted
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
@click.option(
    "--cluster-name", default="", help="Also issue certificates that are missing, for this cluster."
)
@click.option("--ca-generate", is_flag=True, help="Also make the authority where there is none.")
@click.option(
    "--validity-days",
    type=click.FloatRange(min=0, min_open=True),
    default=VALIDITY / timedelta(days=1),
    show_default=True,
    help="How long new certificates are valid, at most as long as the authority.",
)
@click.option(
    "--server-dns-name", "dns_names", multiple=True, help="One more name of the server. Repeatable."
)
@click.option(
    "--server-ip", "ip_addresses", multiple=True, help="One more address of the server. Repeatable."
)
@click.option(
    "--own-name", is_flag=True, help="Be remote-<cluster> to other clusters: their authentication by name."
)
@log.flags
def certgen_command(
    *,
    namespace: str,
    kubeconfig: Path | None,
    watch: bool,
    cluster_name: str,
    ca_generate: bool,
    validity_days: float,
    dns_names: tuple[str, ...],
    ip_addresses: tuple[str, ...],
    own_name: bool,
) -> None:
    """Renew this cluster's certificates before they expire; exit 1 if any could not be.

    \b
    Examples:
      clustermesh-apiserver certgen
      clustermesh-apiserver certgen --cluster-name east --ca-generate --validity-days 90
    """
    wanted = Wanted(
        cluster_name, ca_generate, timedelta(days=validity_days), dns_names, ip_addresses, own_name
    )
    try:
        problems = asyncio.run(_run(namespace, kubeconfig, wanted, watch=watch))
    except (KubernetesError, TimeoutError) as error:
        raise click.ClickException(str(error)) from error
    if problems:
        raise click.ClickException("; ".join(problems))


async def _run(namespace: str, kubeconfig: Path | None, wanted: Wanted, *, watch: bool) -> list[str]:
    async with connect(access.load_default(kubeconfig)) as client:
        if not watch:
            return await certgen.renew(client, namespace, await certgen.common_now(client), wanted)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(certgen.watch(client, namespace, wanted), name="certgen")
            await wait_terminated()
            watching.cancel()
    return []


command = certgen_command  # the name by which the program finds it
