"""The subcommand `clustermesh-apiserver proxy`: parse, then call. Loads gRPC only to serve."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import click

from aiokit import collector, log
from clustermesh_apiserver.proxy.access import AuthMode
from clustermesh_apiserver.proxy.config import ProxyConfig, ProxyError
from clustermesh_apiserver.proxy.quota import DEFAULT, Limits
from mesh.addressing import parse_cluster_name
from mesh.errors import MeshError

SERVE = "clustermesh_apiserver.proxy.serve"


def _limit(default: int) -> dict[str, Any]:
    text = "Of one client: a common name at an address."
    return {"type": click.IntRange(1), "default": default, "show_default": True, "help": text}


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
@click.option(
    "--auth-mode",
    type=click.Choice([mode.value for mode in AuthMode]),
    default=AuthMode.MIGRATION.value,
    show_default=True,
    help="Common names of other clusters' clients: `remote` (legacy), remote-<cluster> (cluster), or either.",
)
@click.option(
    "--users-config-path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="users.yaml: the remote-<cluster> that are let in; followed while running. Default: all.",
)
@click.option(
    "--revoked-config-path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML list `revoked` of {name: ...} or {serial: ...}; followed while running.",
)
@click.option(
    "--see-config-path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="see.yaml: which kinds each peer may see; followed while running. Default: all see all.",
)
@click.option("--max-streams", **_limit(DEFAULT.streams))
@click.option("--max-watches", **_limit(DEFAULT.watches))
@click.option("--max-requests-per-second", **_limit(int(DEFAULT.requests_per_second)))
@click.option("--max-bytes-in-flight", **_limit(DEFAULT.bytes_in_flight))
@click.option("--health-port", type=click.IntRange(0, 65535), default=9882, show_default=True)
@log.flags
def proxy(
    *,
    listen: str,
    upstream: str,
    cert_dir: Path,
    cluster_name: str,
    auth_mode: str,
    users_config_path: Path | None,
    revoked_config_path: Path | None,
    see_config_path: Path | None,
    max_streams: int,
    max_watches: int,
    max_requests_per_second: int,
    max_bytes_in_flight: int,
    health_port: int,
) -> None:
    """Serve this cluster's etcd to other clusters: mutual TLS, read-only, granted prefixes only."""
    mode = AuthMode(auth_mode)
    if mode is AuthMode.CLUSTER and users_config_path is None:
        raise click.UsageError("--auth-mode=cluster needs --users-config-path")
    limits = Limits(
        max_streams,
        max_watches,
        requests_per_second=float(max_requests_per_second),
        bytes_in_flight=max_bytes_in_flight,
    )
    config = ProxyConfig(
        listen,
        upstream,
        cert_dir,
        cluster_name,
        health_port,
        auth_mode=mode,
        users_path=users_config_path,
        revoked_path=revoked_config_path,
        sight_path=see_config_path,
        limits=limits,
    )
    # what is needed to serve includes gRPC, which `--help` need not wait for
    serve = importlib.import_module(SERVE).serve
    collector.calm()
    try:
        asyncio.run(serve(config))
    except ProxyError as error:
        raise click.ClickException(str(error)) from error


command = proxy  # the name by which the program finds it
