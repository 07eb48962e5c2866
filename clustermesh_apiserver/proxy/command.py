"""The subcommand `clustermesh-apiserver proxy`: parse, then call."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from aiokit import log
from clustermesh_apiserver.proxy.config import ProxyConfig, ProxyError
from clustermesh_apiserver.proxy.serve import serve
from mesh.addressing import parse_cluster_name
from mesh.errors import MeshError


def _cluster_name(_context: click.Context, _option: click.Parameter, value: str) -> str:
    try:
        return parse_cluster_name(value)
    except MeshError as error:
        raise click.BadParameter(str(error)) from error


@click.command(context_settings={"auto_envvar_prefix": "CLUSTERMESH_PROXY"})
@click.option("--listen", default="0.0.0.0:2379", show_default=True, help="Address for clients, HOST:PORT.")
@click.option("--upstream", default="127.0.0.1:2378", show_default=True, help="The etcd, HOST:PORT.")
@click.option(
    "--cert-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/cilium/etcd-secrets"),
    show_default=True,
    help="Directory with tls.crt, tls.key and ca.crt; followed while running.",
)
@click.option("--cluster-name", required=True, callback=_cluster_name, help="This cluster's name.")
@click.option("--health-port", type=click.IntRange(0, 65535), default=9882, show_default=True)
@log.flags
def proxy(*, listen: str, upstream: str, cert_dir: Path, cluster_name: str, health_port: int) -> None:
    """Serve this cluster's etcd to other clusters: mutual TLS, read-only, granted prefixes only."""
    config = ProxyConfig(listen, upstream, cert_dir, cluster_name, health_port)
    try:
        asyncio.run(serve(config))
    except ProxyError as error:
        raise click.ClickException(str(error)) from error


command = proxy  # the name by which the program finds it
