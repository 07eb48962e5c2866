"""Where a lab keeps its files. Pure: joins paths, touches nothing.

Everything lies under one directory (0700), so that removing it removes every trace on disk. It is on /run:
a tmpfs, so etcd's fsync costs nothing and a reboot leaves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.plan import STATE_ROOT, NodePlan


@dataclass(frozen=True, slots=True)
class LabPaths:
    lab: str
    state_root: Path = STATE_ROOT

    @property
    def root(self) -> Path:
        return self.state_root / self.lab

    @property
    def record(self) -> Path:
        return self.root / "lab.json"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    def cluster(self, name: str) -> ClusterPaths:
        return ClusterPaths(self.root / "clusters" / name)

    def node(self, node: NodePlan) -> NodePaths:
        return NodePaths(self.root / "nodes" / f"{node.cluster}-{node.name}")


@dataclass(frozen=True, slots=True)
class ClusterPaths:
    root: Path

    @property
    def ready(self) -> Path:
        """Written by the cluster's server once everything in it answers."""
        return self.root / "ready.json"

    @property
    def server(self) -> Path:
        """The server's process id and start time."""
        return self.root / "server.json"

    @property
    def log(self) -> Path:
        return self.root / "server.log"

    @property
    def etcd_data(self) -> Path:
        return self.root / "etcd"

    @property
    def etcd_log(self) -> Path:
        return self.root / "etcd.log"

    @property
    def credentials(self) -> Path:
        return self.root / "credentials"

    @property
    def kubelet_kubeconfig(self) -> Path:
        """Reaches the API over the lab's own network, for what runs inside it."""
        return self.root / "kubelet.kubeconfig"


@dataclass(frozen=True, slots=True)
class NodePaths:
    root: Path

    @property
    def rootfs(self) -> Path:
        """What the node's pods see of its file system through hostPath volumes."""
        return self.root / "rootfs"

    @property
    def agent_socket(self) -> Path:
        return self.rootfs / "var/lib/cilium/run/cilium.sock"

    @property
    def pods(self) -> Path:
        return self.root / "pods"

    def pod(self, uid: str) -> PodPaths:
        return PodPaths(self.pods / uid)

    @property
    def addresses(self) -> Path:
        """One file per pod that holds an address of the agent; gone when the agent has it back."""
        return self.root / "addresses"


@dataclass(frozen=True, slots=True)
class PodPaths:
    root: Path

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def record(self) -> Path:
        """What runs here, for `lab exec`, `lab logs` and `lab ps`."""
        return self.root / "pod.json"

    def log(self, container: str) -> Path:
        return self.root / f"{container}.log"
