"""The agent's settings, checked once: later code trusts them.

Unknown flags are errors; click sees to that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, ip_network
from pathlib import Path

from agent.addresscheck import Mode
from agent.errors import ConfigError
from mesh.addressing import PeerScope, member_scope
from mesh.enforcement import Enforcement
from mesh.errors import MeshError
from mesh.routingmode import RoutingMode
from mesh.servicemode import ServiceMode

DEFAULT_CONFIG_DIR = Path("/var/lib/cilium/clustermesh")
DEFAULT_SOCKET = Path("/var/run/cilium/cilium.sock")
DEFAULT_STATE_DIR = Path("/var/run/cilium/state")
DEFAULT_BPF_ROOT = Path("/sys/fs/bpf/clustermesh")
DEFAULT_HEALTH_PORT = 9879
DEFAULT_PROBE_PORT = 4240  # open between all nodes of a mesh in any case (spec 9.1)
DEFAULT_WITHDRAW_AFTER = "3s"
CONNECTS_PER_SECOND, CONNECTS_AT_ONCE = 10.0, 20  # to all peers together: a TLS handshake costs milliseconds

RANDOM, MAGLEV = "random", "maglev"  # how a client outside gets a node port's backend

_DURATION = re.compile(r"([0-9]+)(h|ms|m|s)")
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True)
class Config:
    """`kubeconfig` None: in-cluster. `node_ip` empty: the Node's InternalIP. `cgroup_root` None: found."""

    cluster: PeerScope
    node_name: str
    node_ip: str
    peers_directory: Path
    socket: Path
    state_directory: Path
    health_host: str
    health_port: int
    kubeconfig: Path | None
    bpf_root: Path
    cgroup_root: Path | None
    service_mode: ServiceMode = ServiceMode.PREFER_LEGACY
    cache_ttl_seconds: float = 0.0  # 0: a lost peer's services stay
    address_check: Mode = Mode.WARN
    policy_default_local_cluster: bool = True
    enforcement: Enforcement = Enforcement.DEFAULT
    service_topology: bool = False
    algorithm: str = RANDOM  # how clients outside get backends, where a Service does not say it
    algorithm_annotation: bool = False  # whether a Service may
    maglev_size: int = 0  # slots of a service's table; 0: there are none
    routing_mode: RoutingMode = RoutingMode.TUNNEL
    direct_routes: bool = False  # with native routing: the agent makes routes to other nodes' pods
    native_cidrs: tuple[str, ...] = ()  # what such routes may lead to; in a family without: anything
    health_address: bool = True  # other nodes may ask through the data path
    probe_backends: bool = True  # themselves, while their control plane is lost
    probe_port: int = DEFAULT_PROBE_PORT
    withdraw_after_seconds: float = 3.0  # 0: backends that do not answer stay
    ipv6: bool = True  # where the node has a pod CIDR of IPv6


def local_cluster(name: str, cluster_id: int, max_connected_clusters: int) -> PeerScope:
    """Raises ConfigError unless this can be a member of a mesh."""
    try:
        return member_scope(name, cluster_id, max_connected_clusters)
    except MeshError as error:
        raise ConfigError(str(error)) from error


def routing(mode: RoutingMode, *, direct: bool) -> bool:
    """Whether routes to nodes are made. ConfigError where Cilium refuses to start, too."""
    if direct and mode is RoutingMode.TUNNEL:
        raise ConfigError(
            "--auto-direct-node-routes needs --routing-mode=native: packets go through the tunnel"
        )
    return direct


def checked_ip(text: str) -> str:
    """An IPv4 address, or nothing."""
    try:
        return str(IPv4Address(text)) if text else ""
    except AddressValueError as error:
        raise ConfigError(f"--node-ip {text!r} is not an IPv4 address") from error


def native_cidr(text: str, version: int) -> str:
    """A network of IP version 4 or 6, in its short form, or nothing."""
    flag = f"--ipv{version}-native-routing-cidr"
    try:
        network = ip_network(text) if text else None
    except ValueError as error:
        raise ConfigError(f"{flag} {text!r} is not a network: {error}") from error
    if network is not None and network.version != version:
        raise ConfigError(f"{flag} {text!r} is not a network of IPv{version}")
    return str(network) if network else ""


def native_cidrs(ipv4: str, ipv6: str) -> tuple[str, ...]:
    """Those that are given."""
    return tuple(filter(None, (native_cidr(ipv4, 4), native_cidr(ipv6, 6))))


def seconds(text: str, flag: str) -> float:
    """A duration as Go writes it: 0s, 90s, 10m, 1h30m."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(f"{flag} {text!r} is not a duration like 90s, 10m or 1h30m")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def maglev_size(algorithm: str, size: str, *, annotation: bool) -> int:
    """Both are checked already, one by one. `annotation`: Services may ask for tables themselves."""
    return int(size) if algorithm == MAGLEV or annotation else 0


def find_cgroup_root(mounts: str) -> Path:
    """Where cgroup v2 is mounted, from the text of /proc/mounts."""
    for line in mounts.splitlines():
        parts = line.split()
        if len(parts) > 2 and parts[2] == "cgroup2":
            return Path(parts[1])
    raise ConfigError("no cgroup2 file system is mounted: give --cgroup-root")
