"""What every pod of a node is given. Built once by the kubelet, never changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from k8s.client import Client
from lab import plan
from lab.manifest import Pod
from lab.node.podnet import PodInterface, PodNetwork
from lab.node.sources import ClusterSources
from lab.paths import ClusterPaths, NodePaths
from lab.plan import NodePlan

PROJECT = Path(__file__).resolve().parents[2]
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = ("LANG", "LC_ALL", "PYTHONDONTWRITEBYTECODE", "BCC_KERNEL_SOURCE")


@dataclass(frozen=True, slots=True)
class NodeContext:
    plan: NodePlan
    paths: NodePaths
    cluster_paths: ClusterPaths
    cgroup2: Path
    client: Client
    sources: ClusterSources
    network: PodNetwork

    def environment(self, pod: Pod) -> dict[str, str]:
        """What every container finds in its environment, before its manifest's own variables."""
        node = self.plan
        control = str(plan.control_ip(node.cluster_id))
        own = {
            "CLUSTER_NAME": node.cluster,
            "NODE_NAME": node.name,
            "NODE_IP": str(node.ip),
            "POD_NAME": pod.metadata.name,
            "POD_NAMESPACE": pod.metadata.namespace,
            "POD_UID": pod.metadata.uid,
            "CLUSTERMESH_BPF_ROOT": str(node.bpf_root),
            "CLUSTERMESH_CGROUP_ROOT": str(node.cgroup(self.cgroup2)),
            "KUBECONFIG": str(self.cluster_paths.kubelet_kubeconfig),
            "KUBERNETES_SERVICE_HOST": control,
            "KUBERNETES_SERVICE_PORT": str(plan.API_PORT),
        }
        return base_environment(os.environ) | own

    def interface(self, pod: Pod) -> PodInterface:
        meta = pod.metadata
        namespace = plan.pod_namespace(self.plan.lab, self.plan.cluster, meta.name, meta.uid)
        return PodInterface(meta.name, meta.namespace, meta.uid, namespace, self.plan.namespace)

    def network_namespace(self, pod: Pod) -> str:
        return self.plan.namespace if pod.spec.hostNetwork else self.interface(pod).namespace

    def cgroup(self, pod: Pod) -> Path:
        return self.plan.pod_cgroup(self.cgroup2, pod.metadata.uid)


def base_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Little of our own: proxies and credentials of whoever started the lab are not for its pods."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}",
        "HOME": "/",
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        **{name: ours[name] for name in _PASSED_ON if name in ours},
    }
