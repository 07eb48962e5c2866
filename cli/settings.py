"""What `enable` installs: every choice, already made. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

SERVICE = "clustermesh-apiserver"
AGENT = "clustermesh-agent"
OPERATOR = "clustermesh-operator"
CONFIG_MAP = "cilium-config"
CA_SECRET = "cilium-ca"
PEERS_SECRET = "cilium-clustermesh"  # what agents follow
MIRRORED_SECRET = "cilium-kvstoremesh"  # what KVStoreMesh follows
ROTATION_SECRET = "cilium-ca-rotation"  # there while the authority is being replaced
REVOKED_CONFIG_MAP = "clustermesh-revoked"  # whom the proxy shuts out
REVOKED_FILE = "revoked.yaml"
KVSTOREMESH = "kvstoremesh"  # its container
CLIENT_PORT = 2379
AGENT_HEALTH_PORT = 9879
EXPORTER_HEALTH_PORT = 9880
KVSTOREMESH_HEALTH_PORT = 9881
PROXY_HEALTH_PORT = 9882
OPERATOR_HEALTH_PORT = 9884
ETCD_IMAGE = "quay.io/coreos/etcd:v3.5.21"
CERTGEN = "clustermesh-apiserver-certgen"
RENEWAL_SCHEDULE = "17 3 * * *"  # a leaf is due for a third of its life: once a day is often enough
LEGACY, MIGRATION, CLUSTER = AUTH_MODES = ("legacy", "migration", "cluster")
CONTROL_LABEL = "clustermesh.io/control"


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """One cluster's installation.

    `kvstoremesh`: peers are read once for the whole cluster, and agents read the copies.
    `mcs_api`: ServiceExports are exported, and an operator makes ServiceImports.
    `on_control_node`: a node is labelled for the control plane.
    `auth_mode`: which names clients of other clusters have (spec 4.5).
    `ip_families`: those that derived Services can have; empty: as ConfigMap cilium-config says, else IPv4.
    """

    cluster_name: str
    cluster_id: int
    namespace: str
    service_type: str
    image: str
    etcd_image: str
    max_connected_clusters: int = 255
    replicas: int = 1  # of the control plane, each with an etcd of its own
    kvstoremesh: bool = True
    mcs_api: bool = False
    on_control_node: bool = False
    auth_mode: str = MIGRATION
    ip_families: str = ""
    service_annotations: dict[str, str] = field(default_factory=dict)
    renews: bool = True  # certificates, by a CronJob
    issues: bool = False  # the CronJob makes what is missing too: for a chart, which has no command line
    schedule: str = RENEWAL_SCHEDULE
    validity_days: int = 1095
