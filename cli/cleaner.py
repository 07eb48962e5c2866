"""The DaemonSet that lets nodes be cleaned up: a pod on each, which sees what the agent saw. Pure."""

from __future__ import annotations

from typing import Any

from cli.agentmanifest import RUN_DIR

NAME = "clustermesh-cleanup"
STATE_DIR = f"{RUN_DIR}/state"


def daemonset(namespace: str, image: str) -> dict[str, Any]:
    """Wherever an agent may have been, which is anywhere."""
    labels = {"k8s-app": NAME}
    pod: dict[str, Any] = {
        "hostNetwork": True,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
        "containers": [_container(image)],
        "volumes": [
            {"name": "run", "hostPath": {"path": RUN_DIR, "type": "DirectoryOrCreate"}},
            {"name": "bpf", "hostPath": {"path": "/sys/fs/bpf", "type": "Directory"}},
        ],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "metadata": {"name": NAME, "namespace": namespace, "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def _container(image: str) -> dict[str, Any]:
    return {
        "name": NAME,
        "image": image,
        "command": ["sleep", "infinity"],
        "securityContext": {"privileged": True, "runAsUser": 0},  # reads pins, removes programs and devices
        "volumeMounts": [
            {"name": "run", "mountPath": RUN_DIR},
            {"name": "bpf", "mountPath": "/sys/fs/bpf", "mountPropagation": "Bidirectional"},
        ],
    }
