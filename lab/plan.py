"""Names, addresses and paths of a lab. Pure: computes, touches nothing.

Everything a lab puts on a machine is named here and nowhere else, so that `lab down` can find it by name
alone. A lab's name has no hyphen: `cm-<lab>-` is then the prefix of that lab's namespaces and of no other's.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from lab.errors import LabError

STATE_ROOT = Path("/run/clustermesh")
BPF_ROOT = Path("/sys/fs/bpf")
CONTROL = "control"
CONTROL_LABEL = "clustermesh.io/control"

UNDERLAY = IPv4Network("198.18.0.0/15")
UNDERLAY6 = IPv6Network("fd00:18::/64")
API_PORT = 6443
KUBE_ETCD_PORT = 2381
POD_MTU = 1450

MAX_CLUSTERS = 99
MAX_NODES = 99
_WELL_KNOWN = ("east", "west", "north", "south")
_LAB_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
_CLUSTER_NAME = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")
_NAMESPACE_LIMIT = 63  # ours: file names may be longer, but `ip netns` should stay readable


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node: a network namespace joined to the lab's fabric by `eth0`."""

    lab: str
    cluster: str
    cluster_id: int
    index: int  # 0: the control-plane node
    ipv6: bool = True  # pods have IPv6 addresses too

    @property
    def name(self) -> str:
        return f"node-{self.index}" if self.index else CONTROL

    @property
    def is_control(self) -> bool:
        return self.index == 0

    @property
    def namespace(self) -> str:
        return f"cm-{self.lab}-{self.cluster}-{self.name}"

    @property
    def ip(self) -> IPv4Address:
        if self.is_control:
            return control_ip(self.cluster_id)
        return IPv4Address(f"198.18.{self.cluster_id}.{10 + self.index}")

    @property
    def ip6(self) -> IPv6Address | None:
        """Beside `ip`; the tunnel does without, direct routes of IPv6 lead there."""
        host = 10 + self.index if self.index else 2
        return IPv6Address(f"fd00:18::{self.cluster_id:x}:{host:x}") if self.ipv6 else None

    @property
    def pod_cidr(self) -> IPv4Network:
        return IPv4Network(f"10.{self.cluster_id}.{self.index}.0/24")

    @property
    def pod_cidr6(self) -> IPv6Network | None:
        return IPv6Network(f"fd00:10:{self.cluster_id:x}:{self.index:x}::/64") if self.ipv6 else None

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        """As a Node object lists them."""
        return tuple(str(cidr) for cidr in (self.pod_cidr, self.pod_cidr6) if cidr)

    @property
    def port_name(self) -> str:
        """The fabric bridge's end of this node's cable."""
        return f"c{self.cluster_id}n{self.index}"

    @property
    def _folder(self) -> str:
        return f"{self.lab}/{self.cluster}/{self.name}"

    @property
    def bpf_root(self) -> Path:
        return BPF_ROOT / "clustermesh" / self._folder

    def cgroup(self, cgroup2: Path) -> Path:
        """The cgroup that the node's agent attaches its programs to; pods live in `pods/` below it."""
        return cgroup2 / "clustermesh" / self._folder

    def pod_cgroup(self, cgroup2: Path, uid: str) -> Path:
        """Where a pod's processes live, those of the node itself (hostNetwork) too."""
        return self.cgroup(cgroup2) / "pods" / uid


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    lab: str
    name: str
    id: int
    nodes: tuple[NodePlan, ...]  # control first

    @property
    def control(self) -> NodePlan:
        return self.nodes[0]

    @property
    def service_cidr(self) -> IPv4Network:
        return IPv4Network(f"172.20.{self.id}.0/24")

    @property
    def service_cidr6(self) -> IPv6Network | None:
        return IPv6Network(f"fd00:20:{self.id:x}::/112") if self.control.ipv6 else None

    def node(self, name: str) -> NodePlan:
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(f"cluster {self.name} has no node {name}")


@dataclass(frozen=True, slots=True)
class LabPlan:
    name: str
    clusters: tuple[ClusterPlan, ...]

    @property
    def fabric(self) -> str:
        return f"cm-{self.name}-fabric"

    @property
    def nodes(self) -> tuple[NodePlan, ...]:
        return tuple(node for cluster in self.clusters for node in cluster.nodes)

    def cluster(self, name: str) -> ClusterPlan:
        for cluster in self.clusters:
            if cluster.name == name:
                return cluster
        names = ", ".join(cluster.name for cluster in self.clusters)
        raise LabError(f"lab {self.name} has no cluster {name}; it has {names}")


def default_cluster_names(count: int) -> list[str]:
    return [_WELL_KNOWN[i] if i < len(_WELL_KNOWN) else f"c{i + 1}" for i in range(count)]


def check_lab_name(name: str) -> str:
    if not _LAB_NAME.fullmatch(name):
        raise LabError(f"lab name {name!r}: up to 12 letters a-z and digits, beginning with a letter")
    return name


def make(name: str, cluster_names: list[str], nodes: int, *, ipv6: bool = True) -> LabPlan:
    """Lay out a lab. `ipv6`: pods and Services may have addresses of both families. Raises LabError for a
    name or a size that does not fit."""
    check_lab_name(name)
    if not 1 <= len(cluster_names) <= MAX_CLUSTERS:
        raise LabError(f"{len(cluster_names)} clusters: a lab has 1 to {MAX_CLUSTERS}")
    if not 1 <= nodes <= MAX_NODES:
        raise LabError(f"{nodes} nodes: a cluster has 1 to {MAX_NODES}")
    if len(set(cluster_names)) != len(cluster_names):
        raise LabError("two clusters have the same name")
    for cluster in cluster_names:
        # `fabric` would share its namespace's name's beginning; a path component must not be odd
        if not _CLUSTER_NAME.fullmatch(cluster) or cluster == "fabric":
            raise LabError(f"cluster name {cluster!r}: up to 20 letters a-z, digits and inner hyphens")
    clusters = (_cluster(name, each, i + 1, nodes, ipv6) for i, each in enumerate(cluster_names))
    return LabPlan(name, tuple(clusters))


def _cluster(lab: str, name: str, cluster_id: int, nodes: int, ipv6: bool) -> ClusterPlan:
    planned = tuple(NodePlan(lab, name, cluster_id, i, ipv6) for i in range(nodes + 1))
    return ClusterPlan(lab, name, cluster_id, planned)


def control_ip(cluster_id: int) -> IPv4Address:
    """Where a cluster's API listens on the fabric."""
    return IPv4Address(f"198.18.{cluster_id}.2")


def namespace_prefix(lab: str) -> str:
    return f"cm-{lab}-"


def pod_namespace(lab: str, cluster: str, pod: str, uid: str) -> str:
    """A pod's network namespace. The dot keeps it apart from every node's, the digest from every pod's."""
    suffix = "." + _digest(f"{cluster}/{uid}")[:8]
    return f"cm-{lab}-{cluster}-{pod}"[: _NAMESPACE_LIMIT - len(suffix)] + suffix


def pod_interface(uid: str) -> str:
    """The node's end of a pod's cable: Cilium's form, `lxc` and a hash."""
    return "lxc" + _digest(uid)[:12]


def cgroup(cgroup2: Path, lab: str) -> Path:
    return cgroup2 / "clustermesh" / lab


def system_cgroup(cgroup2: Path, lab: str) -> Path:
    """Processes that no node's programs should see. No cluster is named so."""
    return cgroup(cgroup2, lab) / "_system"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
