"""The subcommand `clustermesh-apiserver kvstoremesh`: parse, then call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aiokit import log
from aiokit.flag import toggle
from clustermesh_apiserver import config as settings
from clustermesh_apiserver.kvstoremesh.config import MirrorConfig
from clustermesh_apiserver.kvstoremesh.readiness import Patience
from clustermesh_apiserver.options import ENVIRONMENT, of_own_store, run

LONGEST = (0, 30 * 24 * 3600)  # seconds: what a duration of these may be


@click.command(context_settings=ENVIRONMENT)
@of_own_store
@click.option(
    "--clustermesh-config",
    "peers_directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/cilium/clustermesh"),
    show_default=True,
    help="Directory with a file for each remote cluster; followed while running.",
)
@click.option(
    "--clustermesh-cache-ttl",
    default="0s",
    show_default=True,
    help="A cluster away for longer loses its services; 0s: never.",
)
@click.option(
    "--per-cluster-ready-timeout",
    default="15s",
    show_default=True,
    help="How long a cluster that cannot be reached holds up readiness.",
)
@click.option(
    "--global-ready-timeout",
    default="10m",
    show_default=True,
    help="Ready after this time, whatever is missing.",
)
@toggle(
    "--enable-leader-election",
    text="One of several replicas writes: for replicas that share one etcd, not one etcd each.",
)
@toggle("--enable-heartbeat", text="Write the heartbeat: where no exporter runs.")
@click.option("--disable-drain-on-disconnection", is_flag=True, hidden=True)
@click.option(
    "--api-serve-addr", default="localhost:9889", show_default=True, help="HOST:PORT of the status API."
)
@click.option("--health-port", type=click.IntRange(0, 65535), default=9881, show_default=True)
@click.option(
    "--prometheus-serve-addr",
    default="",
    metavar="[HOST]:PORT",
    help="Serve the metrics there, too (they are on the health port).",
)
@log.flags
def kvstoremesh(**flags: Any) -> None:
    """Copy every remote cluster's entries into this cluster's etcd, for its agents to read."""
    try:
        config = as_config(**flags)
    except settings.ConfigError as error:
        raise click.UsageError(str(error)) from error
    from clustermesh_apiserver.kvstoremesh.serve import serve  # noqa: PLC0415 - `--help` stays quick

    run(serve(config), OSError)  # a port in use


def as_config(
    *,
    cluster_name: str,
    cluster_id: int,
    max_connected_clusters: int,
    kvstore_opt: tuple[str, ...],
    etcd_endpoint: str,
    kvstore_lease_ttl: str,
    peers_directory: Path,
    clustermesh_cache_ttl: str,
    per_cluster_ready_timeout: str,
    global_ready_timeout: str,
    enable_leader_election: bool,
    enable_heartbeat: bool,
    disable_drain_on_disconnection: bool,
    api_serve_addr: str,
    health_port: int,
    prometheus_serve_addr: str,
) -> MirrorConfig:
    """The flags as checked settings; raises ConfigError."""
    api = settings.parse_address(api_serve_addr, "--api-serve-addr")
    if api is None:
        raise settings.ConfigError("--api-serve-addr: give HOST:PORT")
    return MirrorConfig(
        cluster=settings.cluster_scope(cluster_name, cluster_id, max_connected_clusters),
        etcd=settings.etcd_config(kvstore_opt, etcd_endpoint),
        peers_directory=peers_directory,
        lease_ttl_seconds=settings.parse_duration(kvstore_lease_ttl, "--kvstore-lease-ttl"),
        cache_ttl_seconds=settings.parse_duration(clustermesh_cache_ttl, "--clustermesh-cache-ttl", LONGEST),
        patience=Patience(
            settings.parse_duration(per_cluster_ready_timeout, "--per-cluster-ready-timeout", LONGEST),
            settings.parse_duration(global_ready_timeout, "--global-ready-timeout", LONGEST),
        ),
        pace=settings.parse_pace(kvstore_opt),
        shares_store=enable_leader_election,
        beats=enable_heartbeat,
        drains=not disable_drain_on_disconnection,
        api=api,
        health_port=health_port,
        metrics=settings.parse_address(prometheus_serve_addr, "--prometheus-serve-addr"),
    )


command = kvstoremesh  # the name by which the program finds it
