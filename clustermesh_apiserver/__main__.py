"""The program `clustermesh-apiserver`: parse, then call. Flags are also read from CLUSTERMESH_<FLAG>."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import click

from aiokit import log
from aiokit.flag import toggle
from clustermesh_apiserver import config as settings
from clustermesh_apiserver.options import ENVIRONMENT, of_own_store, run
from k8s.errors import AccessError
from mesh.servicemode import ServiceMode

# Imported when they are used: the exporter needs nothing of them, and `--help` stays quick.
APART = {
    "certgen": ("clustermesh_apiserver.certgencommand", "command"),
    "clustermesh-dbg": ("clustermesh_apiserver.dbg", "clustermesh_dbg"),
    "kvstoremesh": ("clustermesh_apiserver.kvstoremesh.command", "command"),
    "kvstoremesh-dbg": ("clustermesh_apiserver.dbg", "kvstoremesh_dbg"),
    "proxy": ("clustermesh_apiserver.proxy.command", "command"),
}


class Programs(click.Group):
    """Adds the commands that live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *APART])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in APART:
            return super().get_command(ctx, cmd_name)
        module, attribute = APART[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Programs)
def main() -> None:
    """The control plane of one cluster of a cluster mesh."""


@main.command()
def version() -> None:
    """Print the version."""
    try:
        number = installed_version("clustermesh")
    except PackageNotFoundError:
        number = "(run from its source)"
    click.echo(f"clustermesh-apiserver {number}")


@main.command(context_settings=ENVIRONMENT)
@of_own_store
@click.option(
    "--kubeconfig",
    "--k8s-kubeconfig-path",
    "kubeconfig",
    type=click.Path(path_type=Path),
    envvar=["CLUSTERMESH_KUBECONFIG", "CLUSTERMESH_K8S_KUBECONFIG_PATH", "KUBECONFIG"],
    help="Without it: the service account of the pod.",
)
@click.option("--health-port", type=click.IntRange(0, 65535), default=9880, show_default=True)
@click.option(
    "--prometheus-serve-addr", default="", metavar="[HOST]:PORT", help="Metrics also on a port of their own."
)
@toggle(
    "--clustermesh-default-global-namespace",
    default=True,
    text="Whether namespaces without an annotation take part.",
)
@toggle(
    "--enable-cilium-endpoint-slice",
    text="Read endpoints from CiliumEndpointSlices: where Cilium's agents do so too.",
)
@click.option(
    "--identity-allocation-mode",
    type=click.Choice([mode.value for mode in settings.IdentityMode]),
    default=settings.IdentityMode.CRD.value,
    show_default=True,
    help="crd: Cilium runs here. kvstore: it does not; endpoints are Pods, identities are allocated in etcd.",
)
@click.option(
    "--labels",
    default="",
    help="Labels that make an identity in kvstore mode: patterns, `!` before those to leave out.",
)
@click.option(
    "--clustermesh-service-v2",
    type=click.Choice([mode.value for mode in ServiceMode]),
    default=ServiceMode.PREFER_LEGACY.value,
    show_default=True,
    help="Export services, endpoint slices, or both.",
)
@toggle(
    "--clustermesh-enable-mcs-api", text="Export what ServiceExports say (the multi-cluster services API)."
)
@log.flags
def clustermesh(**flags: Any) -> None:
    """Export this cluster's Kubernetes objects to its etcd."""
    try:
        config = as_config(**flags)
    except settings.ConfigError as error:
        raise click.UsageError(str(error)) from error
    # `--help` and `version` stay quick
    from clustermesh_apiserver.clusterconfig import ConfigRefusedError  # noqa: PLC0415
    from clustermesh_apiserver.serve import serve  # noqa: PLC0415

    run(serve(config), AccessError, OSError, ConfigRefusedError)  # bad credentials, a port in use, a refusal


def as_config(
    *,
    cluster_name: str,
    cluster_id: int,
    max_connected_clusters: int,
    kvstore_opt: tuple[str, ...],
    etcd_endpoint: str,
    kvstore_lease_ttl: str,
    kubeconfig: Path | None,
    health_port: int,
    prometheus_serve_addr: str,
    clustermesh_default_global_namespace: bool,
    enable_cilium_endpoint_slice: bool = False,
    identity_allocation_mode: str = settings.IdentityMode.CRD.value,
    labels: str = "",
    clustermesh_service_v2: str = ServiceMode.PREFER_LEGACY.value,
    clustermesh_enable_mcs_api: bool = False,
) -> settings.Config:
    """The flags as checked settings; raises ConfigError."""
    mode = settings.IdentityMode(identity_allocation_mode)
    if enable_cilium_endpoint_slice and mode is not settings.IdentityMode.CRD:
        raise settings.ConfigError("--enable-cilium-endpoint-slice needs --identity-allocation-mode=crd")
    return settings.Config(
        cluster=settings.cluster_scope(cluster_name, cluster_id, max_connected_clusters),
        etcd=settings.etcd_config(kvstore_opt, etcd_endpoint),
        kubeconfig=kubeconfig,
        lease_ttl_seconds=settings.parse_duration(kvstore_lease_ttl, "--kvstore-lease-ttl"),
        default_global_namespace=clustermesh_default_global_namespace,
        endpoint_slices=enable_cilium_endpoint_slice,
        identity_mode=mode,
        label_filter=settings.label_filter(labels, mode),
        health_port=health_port,
        metrics=settings.parse_address(prometheus_serve_addr, "--prometheus-serve-addr"),
        service_mode=ServiceMode(clustermesh_service_v2),
        mcs_api=clustermesh_enable_mcs_api,
        pace=settings.parse_pace(kvstore_opt),
    )


if __name__ == "__main__":
    main()
