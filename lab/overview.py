"""What `lab status`, `lab ps` and `lab logs` tell: read from records and processes, without the API."""

from __future__ import annotations

from typing import Any

from lab import record
from lab.node import pod_record
from lab.node.pod_containers import log_tail
from lab.paths import LabPaths

Json = dict[str, Any]


def clusters(lab: str) -> list[Json]:
    """Every cluster of a lab. Raises LabError when there is no such lab."""
    paths, pods = LabPaths(lab), pod_record.all_of(LabPaths(lab))
    told = []
    for cluster in record.read(lab).plan.clusters:
        server, ready = record.read_server(paths, cluster.name), record.read_ready(paths, cluster.name)
        own = [pod for pod in pods if pod.cluster == cluster.name]
        told.append(
            {
                "name": cluster.name,
                "id": cluster.id,
                "up": bool(server and server.process.is_alive and ready),
                "nodes": len(cluster.nodes),
                "pods": len(own),
                "ready": sum(pod.is_ready for pod in own),
                "api": f"https://127.0.0.1:{ready.port}" if ready else "",
            }
        )
    return told


def containers(lab: str) -> list[Json]:
    record.read(lab)
    return [
        {
            "cluster": pod.cluster,
            "node": pod.node,
            "namespace": pod.namespace,
            "pod": pod.name,
            "container": each.name,
            "pid": each.process.pid if each.process and each.process.is_alive else 0,
            "ip": pod.ip,
            "ready": pod.is_ready,
            "restarts": each.restarts,
            "network": pod.network,
        }
        for pod in pod_record.all_of(LabPaths(lab))
        for each in pod.containers
    ]


def log(lab: str, cluster: str, pod: str | None, container: str, tail: int | None) -> bytes:
    """A container's log, or the server's. Raises LabError when there is no such pod."""
    paths = LabPaths(lab)
    record.read(lab).plan.cluster(cluster)
    if pod is None:
        return log_tail(paths.cluster(cluster).log, tail)
    chosen = pod_record.choose(pod_record.all_of(paths), cluster, pod)
    node = paths.root / "nodes" / f"{chosen.cluster}-{chosen.node}"
    name = chosen.container(container).name
    return log_tail(node / "pods" / chosen.uid / f"{name}.log", tail)
