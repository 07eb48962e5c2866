"""The DaemonSet of agents. Pure."""

from __future__ import annotations

from typing import Any

from cli import configkeys, peerfile
from cli.container import LAST_WORDS
from cli.peervolume import agent_files
from cli.settings import AGENT, AGENT_HEALTH_PORT, CONFIG_MAP, MeshSettings
from cli.workload import from_field, identity_flags, metadata, port, probe, workload

RUN_DIR = "/var/lib/cilium/run"
# What agents read of ConfigMap cilium-config when they start; keys that are not there leave their defaults.
AGENT_SETTINGS = (
    "policy-default-local-cluster",
    "enable-service-topology",
    "clustermesh-cache-ttl",
    "clustermesh-service-v2",
    "enable-policy",
    "clustermesh-address-check",
    "clustermesh-withdraw-after",
    "routing-mode",
    "bpf-lb-algorithm",
    "bpf-lb-algorithm-annotation",
    "bpf-lb-maglev-table-size",
    "auto-direct-node-routes",
    "ipv4-native-routing-cidr",
    "ipv6-native-routing-cidr",
    "enable-ipv6",
    "clustermesh-probe-backends",
    "enable-endpoint-health-checking",
)


def daemonset(settings: MeshSettings) -> dict[str, Any]:
    """One agent a node: it owns the node's maps, so it runs in the node's own network."""
    pod: dict[str, Any] = {
        "serviceAccountName": AGENT,
        "hostNetwork": True,
        "containers": [_agent(settings)],
        "volumes": [
            {"name": "run", "hostPath": {"path": RUN_DIR, "type": "DirectoryOrCreate"}},
            {"name": "bpf", "hostPath": {"path": "/sys/fs/bpf", "type": "Directory"}},
            {"name": "cgroup", "hostPath": {"path": "/sys/fs/cgroup", "type": "Directory"}},
            {"name": "peers", "projected": {"sources": agent_files()}},
        ],
    }
    if not settings.on_control_node:  # such a node has no workloads and needs no agent; else every node does
        pod["tolerations"] = [{"operator": "Exists"}]
    return {"metadata": metadata(AGENT, settings), "spec": workload(AGENT, pod)}


def _agent(settings: MeshSettings) -> dict[str, Any]:
    return {
        "name": "agent",
        "image": settings.image,
        "command": ["clustermesh-agent"],
        "args": [
            *identity_flags(settings),
            f"--clustermesh-config={peerfile.DIRECTORY}",
            f"--socket-path={RUN_DIR}/cilium.sock",
            f"--state-dir={RUN_DIR}/state",
            f"--health-port={AGENT_HEALTH_PORT}",
        ],
        "env": [
            from_field("NODE_NAME", "spec.nodeName"),
            from_field("NODE_IP", "status.hostIP"),
            *configkeys.variables(CONFIG_MAP, AGENT_SETTINGS),
        ],
        "securityContext": {"privileged": True, "runAsUser": 0},  # loads programs, writes maps, makes links
        **LAST_WORDS,
        "ports": [port("metrics", AGENT_HEALTH_PORT)],
        "readinessProbe": probe("/healthz", AGENT_HEALTH_PORT),
        "volumeMounts": [
            {"name": "run", "mountPath": RUN_DIR},
            {"name": "bpf", "mountPath": "/sys/fs/bpf", "mountPropagation": "Bidirectional"},
            {"name": "cgroup", "mountPath": "/sys/fs/cgroup"},
            {"name": "peers", "mountPath": peerfile.DIRECTORY, "readOnly": True},
        ],
    }
