"""The objects of the mesh in a cluster, as functions of its settings. Pure.

Secrets are in `secret.py`, access rules in `rbac.py`, our kinds in `crd.py`. Names, labels and mount
paths are what Cilium's own tools look for, where those have one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cli import configkeys, crd, peerfile, rbac, renewal, secret, users
from cli.container import LAST_WORDS, hardened, on_control_node, unprivileged
from cli.settings import (
    AGENT,
    AGENT_HEALTH_PORT,
    CLIENT_PORT,
    CLUSTER,
    CONFIG_MAP,
    EXPORTER_HEALTH_PORT,
    KVSTOREMESH,
    KVSTOREMESH_HEALTH_PORT,
    MIGRATION,
    MIRRORED_SECRET,
    OPERATOR,
    OPERATOR_HEALTH_PORT,
    PEERS_SECRET,
    REVOKED_CONFIG_MAP,
    REVOKED_FILE,
    SERVICE,
    MeshSettings,
)
from k8s.resource import CONFIGMAP, CRONJOB, DAEMONSET, DEPLOYMENT, PODDISRUPTIONBUDGET, Resource
from k8s.resource import SERVICE as SERVICE_KIND
from peering import rules

RUN_DIR = "/var/lib/cilium/run"
ETCD_DIR = "/var/lib/cilium/etcd"
SERVER_CERT_DIR = "/var/lib/cilium/etcd-secrets"
REVOKED_DIR = "/var/lib/cilium/revoked"
USERS_DIR = "/var/lib/cilium/users"
SEE_DIR = "/var/lib/cilium/see"
ETCD_CLIENT_URL = "http://127.0.0.1:2378"  # nobody but the pod's own containers reaches it
ETCD_PEER_URL = "http://127.0.0.1:2377"
PROXY_HEALTH_PORT = 9882
PROBE_SECONDS = 2
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


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object and where the API server keeps it. `once`: created if absent, never changed after."""

    resource: Resource
    body: dict[str, Any]
    once: bool = False

    @property
    def name(self) -> str:
        name: str = self.body["metadata"]["name"]
        return name

    @property
    def complete(self) -> dict[str, Any]:
        """With apiVersion and kind, as kubectl reads it."""
        return {"apiVersion": self.resource.api_version, "kind": self.resource.kind, **self.body}


def objects(settings: MeshSettings, secrets: secret.Secrets) -> list[Manifest]:
    """Everything `enable` applies, in an order in which nothing misses what it needs."""
    namespace = settings.namespace
    return [
        *(Manifest(crd.CRD, body, once=True) for body in crd.definitions(mcs_api=settings.mcs_api)),
        Manifest(CONFIGMAP, cluster_config(settings)),
        *(Manifest(secret.SECRET, body) for body in secret.bodies(namespace, secrets)),
        # Its content belongs to `certs revoke`: an empty list, so that the proxy has one to follow.
        Manifest(CONFIGMAP, revoked(settings), once=True),
        # Its content belongs to `apply`: it must be mountable before the first rule.
        Manifest(CONFIGMAP, no_rules(settings), once=True),
        # Their content belongs to `connect`; they must be mountable before the first peer.
        Manifest(secret.SECRET, secret.empty(namespace, PEERS_SECRET), once=True),
        Manifest(secret.SECRET, secret.empty(namespace, MIRRORED_SECRET), once=True),
        *(Manifest(resource, body) for resource, body in rbac.objects(namespace, mcs_api=settings.mcs_api)),
        Manifest(SERVICE_KIND, service(settings)),
        Manifest(DEPLOYMENT, apiserver(settings)),
        Manifest(DAEMONSET, agent(settings)),
        *([Manifest(DEPLOYMENT, operator(settings))] if settings.mcs_api else []),
        *([Manifest(PODDISRUPTIONBUDGET, budget(settings))] if settings.replicas > 1 else []),
        *(_renewal(settings) if settings.renews else []),
    ]


def cluster_config(settings: MeshSettings) -> dict[str, Any]:
    """Who this cluster is. Numbers are strings there."""
    data = {
        "cluster-name": settings.cluster_name,
        "cluster-id": str(settings.cluster_id),
        "max-connected-clusters": str(settings.max_connected_clusters),
    }
    return {"metadata": {"name": CONFIG_MAP, "namespace": settings.namespace}, "data": data}


def revoked(settings: MeshSettings) -> dict[str, Any]:
    metadata = {"name": REVOKED_CONFIG_MAP, "namespace": settings.namespace}
    return {"metadata": metadata, "data": {REVOKED_FILE: "revoked: []\n"}}


def no_rules(settings: MeshSettings) -> dict[str, Any]:
    metadata = {"name": rules.CONFIG_MAP, "namespace": settings.namespace}
    return {"metadata": metadata, "data": rules_of_nobody()}


def rules_of_nobody() -> dict[str, str]:
    return {rules.SEE_FILE: rules.render_see(rules.See()), rules.CLAIMS_FILE: rules.render_claims({})}


def service(settings: MeshSettings) -> dict[str, Any]:
    metadata = _metadata(SERVICE, settings)
    if settings.service_annotations:
        metadata["annotations"] = dict(settings.service_annotations)
    port = {"name": "etcd", "port": CLIENT_PORT, "targetPort": CLIENT_PORT, "protocol": "TCP"}
    spec = {"type": settings.service_type, "selector": {"k8s-app": SERVICE}, "ports": [port]}
    # Every replica is another etcd: a reader that was sent to another one would list everything again.
    spec["sessionAffinity"] = "ClientIP" if settings.replicas > 1 else "None"
    return {"metadata": metadata, "spec": spec}


def apiserver(settings: MeshSettings) -> dict[str, Any]:
    """The control plane: an etcd of its own, what fills it, and the proxy that serves it."""
    pod: dict[str, Any] = {
        "serviceAccountName": SERVICE,
        "securityContext": unprivileged(),
        "containers": [_etcd(settings), _exporter(settings), _proxy(settings)],
        "volumes": [
            {"name": "etcd-data", "emptyDir": {}},
            {"name": "server-cert", "secret": {"secretName": secret.SERVER}},
            {"name": "revoked", "configMap": {"name": REVOKED_CONFIG_MAP, "optional": True}},
            {"name": "see", "configMap": _rules(rules.SEE_FILE)},
        ],
    }
    if settings.auth_mode == CLUSTER:
        pod["volumes"].append({"name": "users", "configMap": {"name": users.CONFIG_MAP, "optional": True}})
    if settings.kvstoremesh:
        sources = [_files(MIRRORED_SECRET), _client_files(secret.REMOTE, peerfile.REMOTE_CLIENT)]
        pod["containers"].append(_kvstoremesh(settings))
        pod["volumes"].append({"name": "peers", "projected": {"sources": sources}})
    if settings.replicas > 1:
        pod["affinity"] = _apart()
    spec = {"replicas": settings.replicas, **_workload(SERVICE, pod)}
    if settings.on_control_node:
        pod |= on_control_node()
        spec["strategy"] = {"type": "Recreate"}  # on a host network two pods would want the same ports
    return {"metadata": _metadata(SERVICE, settings), "spec": spec}


def agent(settings: MeshSettings) -> dict[str, Any]:
    """One agent a node: it owns the node's maps, so it runs in the node's own network."""
    pod: dict[str, Any] = {
        "serviceAccountName": AGENT,
        "hostNetwork": True,
        "containers": [_agent(settings)],
        "volumes": [
            {"name": "run", "hostPath": {"path": RUN_DIR, "type": "DirectoryOrCreate"}},
            {"name": "bpf", "hostPath": {"path": "/sys/fs/bpf", "type": "Directory"}},
            {"name": "cgroup", "hostPath": {"path": "/sys/fs/cgroup", "type": "Directory"}},
            {"name": "peers", "projected": {"sources": _agent_files()}},
        ],
    }
    if not settings.on_control_node:  # such a node has no workloads and needs no agent; else every node does
        pod["tolerations"] = [{"operator": "Exists"}]
    return {"metadata": _metadata(AGENT, settings), "spec": _workload(AGENT, pod)}


def operator(settings: MeshSettings) -> dict[str, Any]:
    """What makes ServiceImports: it reads the other clusters' exports as agents read their services."""
    pod: dict[str, Any] = {
        "serviceAccountName": OPERATOR,
        "securityContext": unprivileged(),
        "containers": [_operator(settings)],
        "volumes": [{"name": "peers", "projected": {"sources": _agent_files()}}],
    }
    if settings.on_control_node:
        pod |= on_control_node()
    # two at once would undo each other's work while they differ in version
    spec = {"replicas": 1, "strategy": {"type": "Recreate"}, **_workload(OPERATOR, pod)}
    return {"metadata": _metadata(OPERATOR, settings), "spec": spec}


def budget(settings: MeshSettings) -> dict[str, Any]:
    """Of several control planes one at a time may be drained away."""
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"k8s-app": SERVICE}}}
    return {"metadata": _metadata(SERVICE, settings), "spec": spec}


def _apart() -> dict[str, Any]:
    """Several control planes on one node would go down with it; better that than not to be at all."""
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"k8s-app": SERVICE}},
    }
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def _renewal(settings: MeshSettings) -> list[Manifest]:
    access = rbac.certgen(settings.namespace, issues=settings.issues)
    return [
        *(Manifest(resource, body) for resource, body in access),
        Manifest(CRONJOB, renewal.cron_job(settings)),
    ]


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
        "env": [_from_field("POD_UID", "metadata.uid")],
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
            *_identity_flags(settings),
            f"--etcd-endpoint={ETCD_CLIENT_URL}",
            f"--health-port={EXPORTER_HEALTH_PORT}",
            *(["--clustermesh-enable-mcs-api"] if settings.mcs_api else []),
        ],
        "env": configkeys.variables(CONFIG_MAP, configkeys.EXPORTER),
        "ports": [_port("export-metrics", EXPORTER_HEALTH_PORT)],
        "readinessProbe": _probe("/readyz", EXPORTER_HEALTH_PORT),
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
        "ports": [_port("etcd", CLIENT_PORT), _port("proxy-metrics", PROXY_HEALTH_PORT)],
        "readinessProbe": _probe("/readyz", PROXY_HEALTH_PORT),
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
            *_identity_flags(settings),
            f"--etcd-endpoint={ETCD_CLIENT_URL}",
            f"--clustermesh-config={peerfile.DIRECTORY}",
            f"--health-port={KVSTOREMESH_HEALTH_PORT}",
        ],
        "env": configkeys.variables(CONFIG_MAP, configkeys.KVSTOREMESH),
        "ports": [_port("mesh-metrics", KVSTOREMESH_HEALTH_PORT)],
        "readinessProbe": _probe("/readyz", KVSTOREMESH_HEALTH_PORT),
        "volumeMounts": [{"name": "peers", "mountPath": peerfile.DIRECTORY, "readOnly": True}],
    }


def _operator(settings: MeshSettings) -> dict[str, Any]:
    return {
        "name": "operator",
        "image": settings.image,
        **hardened(),
        "command": ["clustermesh-operator"],
        "args": [
            *_identity_flags(settings),
            f"--clustermesh-config={peerfile.DIRECTORY}",
            f"--health-port={OPERATOR_HEALTH_PORT}",
            "--clustermesh-enable-endpoint-sync",  # names of headless imports resolve from slices
        ],
        "env": configkeys.variables(CONFIG_MAP, configkeys.OPERATOR),
        "ports": [_port("metrics", OPERATOR_HEALTH_PORT)],
        "readinessProbe": _probe("/readyz", OPERATOR_HEALTH_PORT),
        "volumeMounts": [{"name": "peers", "mountPath": peerfile.DIRECTORY, "readOnly": True}],
    }


def _agent(settings: MeshSettings) -> dict[str, Any]:
    return {
        "name": "agent",
        "image": settings.image,
        "command": ["clustermesh-agent"],
        "args": [
            *_identity_flags(settings),
            f"--clustermesh-config={peerfile.DIRECTORY}",
            f"--socket-path={RUN_DIR}/cilium.sock",
            f"--state-dir={RUN_DIR}/state",
            f"--health-port={AGENT_HEALTH_PORT}",
        ],
        "env": [
            _from_field("NODE_NAME", "spec.nodeName"),
            _from_field("NODE_IP", "status.hostIP"),
            *configkeys.variables(CONFIG_MAP, AGENT_SETTINGS),
        ],
        "securityContext": {"privileged": True, "runAsUser": 0},  # loads programs, writes maps, makes links
        **LAST_WORDS,
        "ports": [_port("metrics", AGENT_HEALTH_PORT)],
        "readinessProbe": _probe("/healthz", AGENT_HEALTH_PORT),
        "volumeMounts": [
            {"name": "run", "mountPath": RUN_DIR},
            {"name": "bpf", "mountPath": "/sys/fs/bpf", "mountPropagation": "Bidirectional"},
            {"name": "cgroup", "mountPath": "/sys/fs/cgroup"},
            {"name": "peers", "mountPath": peerfile.DIRECTORY, "readOnly": True},
        ],
    }


def _agent_files() -> list[dict[str, Any]]:
    """The peers' configurations, both client certificates, as a mesh may turn KVStoreMesh on and off, and
    what the peers may claim."""
    return [
        _files(PEERS_SECRET),
        _client_files(secret.REMOTE, peerfile.REMOTE_CLIENT),
        _client_files(secret.LOCAL, peerfile.LOCAL_CLIENT),
        {"configMap": _rules(rules.CLAIMS_FILE)},
    ]


def _rules(file: str) -> dict[str, Any]:
    """One file of what peers may; without it nobody is restricted."""
    return {"name": rules.CONFIG_MAP, "optional": True, "items": [{"key": file, "path": file}]}


def _files(name: str) -> dict[str, Any]:
    return {"secret": {"name": name, "optional": True}}


def _client_files(name: str, client: str) -> dict[str, Any]:
    """A client certificate under the names that the peers' configurations refer to."""
    paths = {"tls.crt": f"{client}.crt", "tls.key": f"{client}.key", "ca.crt": f"{client}-ca.crt"}
    items = [{"key": key, "path": path} for key, path in paths.items()]
    return {"secret": {"name": name, "optional": True, "items": items}}


def _identity_flags(settings: MeshSettings) -> list[str]:
    return [
        f"--cluster-name={settings.cluster_name}",
        f"--cluster-id={settings.cluster_id}",
        f"--max-connected-clusters={settings.max_connected_clusters}",
    ]


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _probe(path: str, port: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": PROBE_SECONDS}


def _from_field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _workload(app: str, pod: dict[str, Any]) -> dict[str, Any]:
    labels = {"k8s-app": app}
    return {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}


def _metadata(name: str, settings: MeshSettings) -> dict[str, Any]:
    return {"name": name, "namespace": settings.namespace, "labels": {"k8s-app": name}}
