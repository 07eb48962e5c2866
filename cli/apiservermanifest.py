"""The control plane: an etcd of its own, what fills it, and the proxy that serves it. Pure."""

from __future__ import annotations

from typing import Any

from cli import configkeys, peerfile, secret, users
from cli.container import hardened, on_control_node, unprivileged
from cli.peervolume import client_files, files, rules_of
from cli.settings import (
    CLIENT_PORT,
    CLUSTER,
    CONFIG_MAP,
    EXPORTER_HEALTH_PORT,
    KVSTOREMESH,
    KVSTOREMESH_HEALTH_PORT,
    MIGRATION,
    MIRRORED_SECRET,
    PROXY_HEALTH_PORT,
    REVOKED_CONFIG_MAP,
    REVOKED_FILE,
    SERVICE,
    MeshSettings,
)
from cli.workload import from_field, identity_flags, metadata, port, probe, workload
from peering import rules

ETCD_DIR = "/var/lib/cilium/etcd"
SERVER_CERT_DIR = "/var/lib/cilium/etcd-secrets"
REVOKED_DIR = "/var/lib/cilium/revoked"
USERS_DIR = "/var/lib/cilium/users"
SEE_DIR = "/var/lib/cilium/see"
ETCD_CLIENT_URL = "http://127.0.0.1:2378"  # nobody but the pod's own containers reaches it
ETCD_PEER_URL = "http://127.0.0.1:2377"


def service(settings: MeshSettings) -> dict[str, Any]:
    named = metadata(SERVICE, settings)
    if settings.service_annotations:
        named["annotations"] = dict(settings.service_annotations)
    etcd = {"name": "etcd", "port": CLIENT_PORT, "targetPort": CLIENT_PORT, "protocol": "TCP"}
    spec = {"type": settings.service_type, "selector": {"k8s-app": SERVICE}, "ports": [etcd]}
    # Every replica is another etcd: a reader that was sent to another one would list everything again.
    spec["sessionAffinity"] = "ClientIP" if settings.replicas > 1 else "None"
    return {"metadata": named, "spec": spec}


def deployment(settings: MeshSettings) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "serviceAccountName": SERVICE,
        "securityContext": unprivileged(),
        "containers": [_etcd(settings), _exporter(settings), _proxy(settings)],
        "volumes": [
            {"name": "etcd-data", "emptyDir": {}},
            {"name": "server-cert", "secret": {"secretName": secret.SERVER}},
            {"name": "revoked", "configMap": {"name": REVOKED_CONFIG_MAP, "optional": True}},
            {"name": "see", "configMap": rules_of(rules.SEE_FILE)},
        ],
    }
    if settings.auth_mode == CLUSTER:
        pod["volumes"].append({"name": "users", "configMap": {"name": users.CONFIG_MAP, "optional": True}})
    if settings.kvstoremesh:
        sources = [files(MIRRORED_SECRET), client_files(secret.REMOTE, peerfile.REMOTE_CLIENT)]
        pod["containers"].append(_kvstoremesh(settings))
        pod["volumes"].append({"name": "peers", "projected": {"sources": sources}})
    if settings.replicas > 1:
        pod["affinity"] = _apart()
    spec = {"replicas": settings.replicas, **workload(SERVICE, pod)}
    if settings.on_control_node:
        pod |= on_control_node()
        spec["strategy"] = {"type": "Recreate"}  # on a host network two pods would want the same ports
    return {"metadata": metadata(SERVICE, settings), "spec": spec}


def budgets(settings: MeshSettings) -> list[dict[str, Any]]:
    """Of several control planes one at a time may be drained away."""
    if settings.replicas < 2:
        return []
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"k8s-app": SERVICE}}}
    return [{"metadata": metadata(SERVICE, settings), "spec": spec}]


def _apart() -> dict[str, Any]:
    """Several control planes on one node would go down with it; better that than not to be at all."""
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"k8s-app": SERVICE}},
    }
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def _etcd(settings: MeshSettings) -> dict[str, Any]:
    args = [
        f"--data-dir={ETCD_DIR}",
        f"--name={SERVICE}",
        f"--listen-client-urls={ETCD_CLIENT_URL}",
        f"--advertise-client-urls={ETCD_CLIENT_URL}",
        f"--listen-peer-urls={ETCD_PEER_URL}",
        f"--initial-advertise-peer-urls={ETCD_PEER_URL}",
        f"--initial-cluster={SERVICE}={ETCD_PEER_URL}",
        # Another pod is another etcd: readers tell by the cluster id, which derives from this.
        "--initial-cluster-token=$(POD_UID)",
        "--auto-compaction-retention=1",
    ]
    return {
        "name": "etcd",
        "image": settings.etcd_image,
        **hardened(),
        "command": ["etcd"],
        "args": args,
        "env": [from_field("POD_UID", "metadata.uid")],
        "volumeMounts": [{"name": "etcd-data", "mountPath": ETCD_DIR}],
    }


def _exporter(settings: MeshSettings) -> dict[str, Any]:
    return {
        "name": "apiserver",
        "image": settings.image,
        **hardened(),
        "command": ["clustermesh-apiserver"],
        "args": [
            "clustermesh",
            *identity_flags(settings),
            f"--etcd-endpoint={ETCD_CLIENT_URL}",
            f"--health-port={EXPORTER_HEALTH_PORT}",
            *(["--clustermesh-enable-mcs-api"] if settings.mcs_api else []),
        ],
        "env": configkeys.variables(CONFIG_MAP, configkeys.EXPORTER),
        "ports": [port("export-metrics", EXPORTER_HEALTH_PORT)],
        "readinessProbe": probe("/readyz", EXPORTER_HEALTH_PORT),
    }


def _proxy(settings: MeshSettings) -> dict[str, Any]:
    keeps_users = settings.auth_mode == CLUSTER
    return {
        "name": "proxy",
        "image": settings.image,
        **hardened(),
        "command": ["clustermesh-apiserver"],
        "args": [
            "proxy",
            f"--listen=0.0.0.0:{CLIENT_PORT}",
            f"--upstream={ETCD_CLIENT_URL.removeprefix('http://')}",
            f"--cert-dir={SERVER_CERT_DIR}",
            f"--cluster-name={settings.cluster_name}",
            f"--revoked-config-path={REVOKED_DIR}/{REVOKED_FILE}",
            f"--see-config-path={SEE_DIR}/{rules.SEE_FILE}",
            *([f"--auth-mode={settings.auth_mode}"] if settings.auth_mode != MIGRATION else []),
            *([f"--users-config-path={USERS_DIR}/{users.FILE}"] if keeps_users else []),
            f"--health-port={PROXY_HEALTH_PORT}",
        ],
        "ports": [port("etcd", CLIENT_PORT), port("proxy-metrics", PROXY_HEALTH_PORT)],
        "readinessProbe": probe("/readyz", PROXY_HEALTH_PORT),
        "volumeMounts": [
            {"name": "server-cert", "mountPath": SERVER_CERT_DIR, "readOnly": True},
            {"name": "revoked", "mountPath": REVOKED_DIR, "readOnly": True},
            {"name": "see", "mountPath": SEE_DIR, "readOnly": True},
            *([{"name": "users", "mountPath": USERS_DIR, "readOnly": True}] if keeps_users else []),
        ],
    }


def _kvstoremesh(settings: MeshSettings) -> dict[str, Any]:
    return {
        "name": KVSTOREMESH,
        "image": settings.image,
        **hardened(),
        "command": ["clustermesh-apiserver"],
        "args": [
            "kvstoremesh",
            *identity_flags(settings),
            f"--etcd-endpoint={ETCD_CLIENT_URL}",
            f"--clustermesh-config={peerfile.DIRECTORY}",
            f"--health-port={KVSTOREMESH_HEALTH_PORT}",
        ],
        "env": configkeys.variables(CONFIG_MAP, configkeys.KVSTOREMESH),
        "ports": [port("mesh-metrics", KVSTOREMESH_HEALTH_PORT)],
        "readinessProbe": probe("/readyz", KVSTOREMESH_HEALTH_PORT),
        "volumeMounts": [{"name": "peers", "mountPath": peerfile.DIRECTORY, "readOnly": True}],
    }
