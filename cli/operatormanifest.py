"""The operator's Deployment. Pure."""

from __future__ import annotations

from typing import Any

from cli import configkeys, peerfile
from cli.container import hardened, on_control_node, unprivileged
from cli.peervolume import agent_files
from cli.settings import CONFIG_MAP, OPERATOR, OPERATOR_HEALTH_PORT, MeshSettings
from cli.workload import identity_flags, metadata, port, probe, workload


def deployment(settings: MeshSettings) -> dict[str, Any]:
    """What makes ServiceImports: it reads the other clusters' exports as agents read their services."""
    pod: dict[str, Any] = {
        "serviceAccountName": OPERATOR,
        "securityContext": unprivileged(),
        "containers": [_operator(settings)],
        "volumes": [{"name": "peers", "projected": {"sources": agent_files()}}],
    }
    if settings.on_control_node:
        pod |= on_control_node()
    # two at once would undo each other's work while they differ in version
    spec = {"replicas": 1, "strategy": {"type": "Recreate"}, **workload(OPERATOR, pod)}
    return {"metadata": metadata(OPERATOR, settings), "spec": spec}


def _operator(settings: MeshSettings) -> dict[str, Any]:
    return {
        "name": "operator",
        "image": settings.image,
        **hardened(),
        "command": ["clustermesh-operator"],
        "args": [
            *identity_flags(settings),
            f"--clustermesh-config={peerfile.DIRECTORY}",
            f"--health-port={OPERATOR_HEALTH_PORT}",
            "--clustermesh-enable-endpoint-sync",  # names of headless imports resolve from slices
            *([f"--ip-families={settings.ip_families}"] if settings.ip_families else []),
        ],
        "env": configkeys.variables(CONFIG_MAP, configkeys.OPERATOR),
        "ports": [port("metrics", OPERATOR_HEALTH_PORT)],
        "readinessProbe": probe("/readyz", OPERATOR_HEALTH_PORT),
        "volumeMounts": [{"name": "peers", "mountPath": peerfile.DIRECTORY, "readOnly": True}],
    }
