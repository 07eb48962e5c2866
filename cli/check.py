"""The catalogue of what may be wrong with a mesh, by name: each is a page docs/checks/<name>.md. Pure.

Names are API: scripts and people look for them. A name is never given another meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Check(Enum):
    """`name` of the page, and one line. Those that are looked at before a change come first."""

    CLUSTER_NAME_UNSET = ("cluster-name-unset", "the cluster has no name of its own")
    CLUSTER_NAME_INVALID = ("cluster-name-invalid", "the cluster's name cannot be a part of a key")
    CLUSTER_ID_UNSET = ("cluster-id-unset", "the cluster has no id")
    CLUSTER_ID_RANGE = ("cluster-id-range", "the cluster's id is not between 1 and the mesh's capacity")
    CAPACITY_INVALID = ("capacity-invalid", "max-connected-clusters is neither 255 nor 511")
    UPPER_HALF_CLUSTER_ID = ("upper-half-cluster-id", "packet marks of the IPAM hide the cluster's id")
    MESH_NOT_ENABLED = ("mesh-not-enabled", "the cluster has no control plane for a mesh")
    NO_ADDRESS = ("no-address", "peers would not know where to reach the cluster")
    CA_MISSING = ("ca-missing", "the cluster has no certificate authority")
    SAME_CLUSTER_NAME = ("same-cluster-name", "two clusters have one name")
    SAME_CLUSTER_ID = ("same-cluster-id", "two clusters have one id")
    CAPACITY_DIFFERS = ("capacity-differs", "two clusters number identities differently")
    ROUTING_MODE_DIFFERS = ("routing-mode-differs", "two clusters send packets between nodes differently")
    TUNNEL_DIFFERS = ("tunnel-differs", "two clusters' tunnels are of different kinds, or at different ports")
    CA_MISMATCH = ("ca-mismatch", "one side does not trust the other's certificate authority")
    OVERLAPPING_POD_CIDRS = ("overlapping-pod-cidrs", "two clusters' pods may have one address")
    ENDPOINT_UNREACHABLE = ("endpoint-unreachable", "nobody answers at a cluster's address")
    SERVER_CERTIFICATE_NAME = (
        "server-certificate-name",
        "the server's certificate lacks the name that peers dial",
    )
    SERVER_CERTIFICATE_USE = ("server-certificate-use", "the server's certificate is not made for servers")
    SERVER_CERTIFICATE_CHAIN = ("server-certificate-chain", "nobody whom peers trust signed the server")
    SERVER_CERTIFICATE_EXPIRED = ("server-certificate-expired", "the server's certificate has expired")
    SERVER_CERTIFICATE_CLOCK = ("server-certificate-clock", "the server's certificate is not valid yet")
    # seen by `clustermesh status`, when the mesh stands
    PEER_DOWN = ("peer-down", "the peer's control plane does not answer")
    PEER_SILENT = ("peer-silent", "the peer's etcd answers, but nobody writes its heartbeat")
    PEER_REFUSES_US = ("peer-refuses-us", "the peer does not let our certificate read")
    PEER_CONFIG_MISSING = ("peer-config-missing", "the peer does not describe itself under this name")
    CLIENT_CERTIFICATE_EXPIRED = ("client-certificate-expired", "our own certificate has expired")
    CLIENT_CERTIFICATE_CLOCK = ("client-certificate-clock", "our own certificate is not valid yet")
    STORE_FULL = ("store-full", "the mesh's own etcd takes no more writes")
    STORE_DISK = ("store-disk", "the disk of the mesh's own etcd is full, and it does not start")
    CONTROL_PLANE_DOWN = ("control-plane-down", "this cluster's own control plane does not answer")
    SYNCING = ("syncing", "the first copy of a peer is not complete")
    NOT_ASKED = ("not-asked", "an agent or KVStoreMesh could not be asked")
    PEER_UNKNOWN = ("peer-unknown", "the peer is configured, and the reader does not speak of it")
    # seen by `clustermesh service`
    SERVICE_MISSING = ("service-missing", "no Service of this name in a cluster")
    SERVICE_NOT_GLOBAL = ("service-not-global", "the Service lacks the annotation that makes it global")
    SERVICE_NOT_SHARED = ("service-not-shared", "the Service is not shared with other clusters")
    NAMESPACE_NOT_GLOBAL = ("namespace-not-global", "the namespace takes no part in the mesh")
    NO_READY_BACKENDS = ("no-ready-backends", "the Service has no pod that is ready")
    SERVICE_PREFERENCE = ("service-preference", "another cluster is preferred while it has backends")
    NODES_SILENT = ("nodes-silent", "the nodes of the backends do not answer")
    CLAIM_REFUSED = ("claim-refused", "what a peer says was refused: it is not the peer's to say")
    PORTS_DIFFER = ("ports-differ", "no port of the backends has the name of the Service's")
    NODE_LOCAL_ONLY = ("node-local-only", "the Service keeps to the client's own node")
    NO_NODE_CHOSEN = ("no-node-chosen", "no node has the labels of those that the Service is for")

    def __init__(self, label: str, title: str) -> None:
        self.label = label
        self.title = title


# What may be meant so: only these can be skipped.
SKIPPABLE = (Check.OVERLAPPING_POD_CIDRS, Check.UPPER_HALF_CLUSTER_ID)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check that failed: where and why, and what mends it. `refuses` False: said, and gone on."""

    check: Check
    reason: str
    mend: str
    refuses: bool = True

    @property
    def text(self) -> str:
        return f"{self.reason}: {self.mend} ({self.check.label})"


def of(label: str) -> Check:
    """By its name. Raises KeyError."""
    return _BY_LABEL[label]


_BY_LABEL = {check.label: check for check in Check}
