"""Parts of our workloads: labels, ports, probes, and how a program is told which cluster it is of. Pure."""

from __future__ import annotations

from typing import Any

from cli.settings import MeshSettings

PROBE_SECONDS = 2


def identity_flags(settings: MeshSettings) -> list[str]:
    return [
        f"--cluster-name={settings.cluster_name}",
        f"--cluster-id={settings.cluster_id}",
        f"--max-connected-clusters={settings.max_connected_clusters}",
    ]


def port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def probe(path: str, port: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": PROBE_SECONDS}


def from_field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def workload(app: str, pod: dict[str, Any]) -> dict[str, Any]:
    labels = {"k8s-app": app}
    return {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}


def metadata(name: str, settings: MeshSettings) -> dict[str, Any]:
    return {"name": name, "namespace": settings.namespace, "labels": {"k8s-app": name}}
