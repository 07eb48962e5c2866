"""clustermesh-agent: one per node. Reads its settings, then serves until it is told to end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from agent.addresscheck import Mode
from agent.config import (
    DEFAULT_BPF_ROOT,
    DEFAULT_CONFIG_DIR,
    DEFAULT_HEALTH_PORT,
    DEFAULT_PROBE_PORT,
    DEFAULT_SOCKET,
    DEFAULT_STATE_DIR,
    DEFAULT_WITHDRAW_AFTER,
    MAGLEV,
    RANDOM,
    Config,
    checked_ip,
    local_cluster,
    maglev_size,
    native_cidrs,
    routing,
    seconds,
)
from agent.errors import AgentError
from agent.serve import serve
from aiokit import collector, log
from aiokit.failure import leaves
from aiokit.flag import toggle
from bpf import maglev
from bpf.errors import BPFError
from k8s.errors import AccessError
from mesh.enforcement import Enforcement
from mesh.routingmode import RoutingMode
from mesh.servicemode import ServiceMode

_FILE = click.Path(path_type=Path, dir_okay=False)
_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"auto_envvar_prefix": "CLUSTERMESH", "max_content_width": 110})
@click.option("--cluster-name", required=True, help="Name of the local cluster.")
@click.option("--cluster-id", required=True, type=int, help="Id of the local cluster, unique in the mesh.")
@click.option("--max-connected-clusters", type=int, default=255, show_default=True, help="255 or 511.")
@click.option("--clustermesh-config", type=_DIRECTORY, default=DEFAULT_CONFIG_DIR, show_default=True)
@click.option("--socket-path", type=click.Path(path_type=Path), default=DEFAULT_SOCKET, show_default=True)
@click.option("--state-dir", type=_DIRECTORY, default=DEFAULT_STATE_DIR, show_default=True)
@click.option(
    "--health-host", default="", help="Address of the read-only HTTP server. By default the node's address."
)
@click.option("--health-port", type=click.IntRange(0, 65535), default=DEFAULT_HEALTH_PORT, show_default=True)
@click.option("--kubeconfig", type=_FILE, envvar=["CLUSTERMESH_KUBECONFIG", "KUBECONFIG"], default=None)
@click.option("--bpf-root", type=_DIRECTORY, default=DEFAULT_BPF_ROOT, show_default=True)
@click.option("--cgroup-root", type=_DIRECTORY, default=None, help="By default where cgroup2 is mounted.")
@click.option("--node-name", envvar=["CLUSTERMESH_NODE_NAME", "NODE_NAME"], default="")
@click.option("--node-ip", envvar=["CLUSTERMESH_NODE_IP", "NODE_IP"], default="")
@click.option(
    "--clustermesh-service-v2",
    type=click.Choice([mode.value for mode in ServiceMode]),
    default=ServiceMode.PREFER_LEGACY.value,
    show_default=True,
    help="Whether peers' backends are read as services or as endpoint slices.",
)
@click.option(
    "--clustermesh-cache-ttl",
    default="0s",
    show_default=True,
    help="A peer away for longer loses its services; 0s: never.",
)
@click.option(
    "--clustermesh-address-check",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.WARN.value,
    show_default=True,
    help="Addresses outside of a peer's own nodes' pod CIDRs: count and keep them, or leave them out.",
)
@click.option(
    "--policy-default-local-cluster",
    type=bool,
    default=True,
    show_default=True,
    help="Whether a policy's selector that names no cluster selects pods of the local one only.",
)
@click.option(
    "--enable-policy",
    type=click.Choice([mode.value for mode in Enforcement]),
    default=Enforcement.DEFAULT.value,
    show_default=True,
    help="default: a pod's direction is closed once a policy selects it; always: before, too; never: open.",
)
@click.option(
    "--bpf-lb-algorithm",
    type=click.Choice([RANDOM, MAGLEV]),
    default=RANDOM,
    show_default=True,
    help="How node ports choose backends for clients outside; maglev: alike on every node.",
)
@click.option(
    "--bpf-lb-maglev-table-size",
    type=click.Choice([str(size) for size in maglev.SIZES]),
    default=str(maglev.DEFAULT_SIZE),
    show_default=True,
    help="A hundred times as many as a service's backends is a good choice.",
)
@toggle(
    "--bpf-lb-algorithm-annotation",
    text="A Service may say random or maglev itself: service.cilium.io/lb-algorithm.",
)
@toggle(
    "--enable-service-topology",
    text="Services that ask for it use the backends that are meant for their clients' zone.",
)
@toggle(
    "--enable-ipv6",
    default=True,
    text="Pods have IPv6 addresses too where Kubernetes gives this node a pod CIDR of IPv6.",
)
@click.option(
    "--routing-mode",
    type=click.Choice([mode.value for mode in RoutingMode]),
    default=RoutingMode.TUNNEL.value,
    show_default=True,
    help="How packets travel between nodes; the same in all clusters of a mesh.",
)
@toggle(
    "--auto-direct-node-routes",
    text="With native routing: make routes to the pods of nodes on the same network.",
)
@click.option(
    "--ipv4-native-routing-cidr",
    default="",
    help="With direct routes: other nodes' pods get routes inside this network only. By default anywhere.",
)
@click.option("--ipv6-native-routing-cidr", default="", help="The same for IPv6.")
@click.option(
    "--clustermesh-withdraw-after",
    default=DEFAULT_WITHDRAW_AFTER,
    show_default=True,
    help="Backends behind remote nodes that are silent for so long are not used; 0s: they are.",
)
@click.option(
    "--clustermesh-probe-port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PROBE_PORT,
    show_default=True,
    help="TCP port of remote nodes that is probed; a refused connection is an answer too.",
)
@toggle(
    "--enable-endpoint-health-checking",
    default=True,
    text="Have an address among the node's pods that other nodes probe: through the data path.",
)
@toggle(
    "--clustermesh-probe-backends",
    default=True,
    text="Ask remote backends themselves while their control plane is lost; silent ones are not used.",
)
@log.flags
def main(  # noqa: PLR0917 - click gives them by name
    cluster_name: str,
    cluster_id: int,
    max_connected_clusters: int,
    clustermesh_config: Path,
    socket_path: Path,
    state_dir: Path,
    health_host: str,
    health_port: int,
    kubeconfig: Path | None,
    bpf_root: Path,
    cgroup_root: Path | None,
    node_name: str,
    node_ip: str,
    clustermesh_service_v2: str,
    clustermesh_cache_ttl: str,
    clustermesh_address_check: str,
    policy_default_local_cluster: bool,
    enable_policy: str,
    bpf_lb_algorithm: str,
    bpf_lb_algorithm_annotation: bool,
    bpf_lb_maglev_table_size: str,
    enable_service_topology: bool,
    routing_mode: str,
    auto_direct_node_routes: bool,
    ipv4_native_routing_cidr: str,
    ipv6_native_routing_cidr: str,
    enable_ipv6: bool,
    clustermesh_withdraw_after: str,
    clustermesh_probe_port: int,
    clustermesh_probe_backends: bool,
    enable_endpoint_health_checking: bool,
) -> None:
    """Follow remote clusters and the local one, and keep this node's data path as they say."""
    status = 0  # an exit inside `except*` would be wrapped like an error
    try:
        config = Config(
            cluster=local_cluster(cluster_name, cluster_id, max_connected_clusters),
            node_name=node_name or os.uname().nodename,
            node_ip=checked_ip(node_ip),
            peers_directory=clustermesh_config,
            socket=socket_path,
            state_directory=state_dir,
            health_host=health_host,
            health_port=health_port,
            kubeconfig=kubeconfig,
            bpf_root=bpf_root,
            cgroup_root=cgroup_root,
            service_mode=ServiceMode(clustermesh_service_v2),
            cache_ttl_seconds=seconds(clustermesh_cache_ttl, "--clustermesh-cache-ttl"),
            address_check=Mode(clustermesh_address_check),
            policy_default_local_cluster=policy_default_local_cluster,
            enforcement=Enforcement(enable_policy),
            service_topology=enable_service_topology,
            algorithm=bpf_lb_algorithm,
            algorithm_annotation=bpf_lb_algorithm_annotation,
            maglev_size=maglev_size(
                bpf_lb_algorithm, bpf_lb_maglev_table_size, annotation=bpf_lb_algorithm_annotation
            ),
            routing_mode=RoutingMode(routing_mode),
            direct_routes=routing(RoutingMode(routing_mode), direct=auto_direct_node_routes),
            native_cidrs=native_cidrs(ipv4_native_routing_cidr, ipv6_native_routing_cidr),
            ipv6=enable_ipv6,
            probe_port=clustermesh_probe_port,
            probe_backends=clustermesh_probe_backends,
            health_address=enable_endpoint_health_checking,
            withdraw_after_seconds=seconds(clustermesh_withdraw_after, "--clustermesh-withdraw-after"),
        )
        collector.calm()
        asyncio.run(serve(config))
    except* (AgentError, AccessError, BPFError, OSError) as errors:
        # what somebody can put right, in one line each; anything else is a bug and shows where it is
        for error in leaves(errors):
            click.echo(f"clustermesh-agent: {error}", err=True)
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
