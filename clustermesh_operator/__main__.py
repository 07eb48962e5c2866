"""clustermesh-operator: one per cluster, where the multi-cluster services API is on."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from aiokit import log
from aiokit.failure import leaves
from aiokit.flag import toggle
from clustermesh_operator.config import (
    DEFAULT_CONFIG_DIR,
    DEFAULT_HEALTH_PORT,
    Config,
    ConfigError,
    local_cluster,
)
from clustermesh_operator.serve import serve
from clustermesh_operator.snapshot import Settings
from k8s.errors import AccessError

IP_FAMILIES = {"ipv4": ("IPv4",), "ipv6": ("IPv6",), "dual": ("IPv4", "IPv6")}


@click.command(context_settings={"auto_envvar_prefix": "CLUSTERMESH", "max_content_width": 110})
@click.option("--cluster-name", required=True, help="Name of the local cluster.")
@click.option("--cluster-id", required=True, type=int, help="Id of the local cluster, unique in the mesh.")
@click.option("--max-connected-clusters", type=int, default=255, show_default=True, help="255 or 511.")
@click.option(
    "--clustermesh-config",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_CONFIG_DIR,
    show_default=True,
    help="Directory with a file for each remote cluster; followed while running.",
)
@toggle(
    "--clustermesh-default-global-namespace",
    default=True,
    text="Whether namespaces without an annotation take part.",
)
@toggle(
    "--clustermesh-enable-endpoint-sync",
    text="Other clusters' backends of headless, imported and annotated services become EndpointSlices.",
)
@click.option(
    "--ip-families",
    type=click.Choice(list(IP_FAMILIES)),
    default="ipv4",
    show_default=True,
    help="What Services of this cluster can have.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=["CLUSTERMESH_KUBECONFIG", "KUBECONFIG"],
    default=None,
    help="Without it: the service account of the pod.",
)
@click.option("--health-host", default="0.0.0.0", show_default=True)
@click.option("--health-port", type=click.IntRange(0, 65535), default=DEFAULT_HEALTH_PORT, show_default=True)
@log.flags
def main(  # noqa: PLR0917 - click gives them by name
    cluster_name: str,
    cluster_id: int,
    max_connected_clusters: int,
    clustermesh_config: Path,
    clustermesh_default_global_namespace: bool,
    clustermesh_enable_endpoint_sync: bool,
    ip_families: str,
    kubeconfig: Path | None,
    health_host: str,
    health_port: int,
) -> None:
    """Make what the multi-cluster services API promises of all clusters' ServiceExports."""
    status = 0  # an exit inside `except*` would be wrapped like an error
    try:
        cluster = local_cluster(cluster_name, cluster_id, max_connected_clusters)
        config = Config(
            cluster,
            Settings(
                cluster.name,
                IP_FAMILIES[ip_families],
                clustermesh_default_global_namespace,
                clustermesh_enable_endpoint_sync,
            ),
            peers_directory=clustermesh_config,
            kubeconfig=kubeconfig,
            health_host=health_host,
            health_port=health_port,
        )
        asyncio.run(serve(config))
    except* (ConfigError, AccessError, OSError) as errors:
        # what somebody can put right, in one line each; anything else is a bug and shows where it is
        for error in leaves(errors):
            click.echo(f"clustermesh-operator: {error}", err=True)
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
