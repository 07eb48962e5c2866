"""The running agent as one object: what its API and its metrics read. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent import globalservices, metrics, peernodes, status
from agent.backendprobing import BackendProbing
from agent.balancerhealth import BalancerHealth
from agent.datapath import Datapath
from agent.k8s_sync import KubernetesSync
from agent.lifecycle import Lifecycle
from agent.local import LocalNode
from agent.mirrorwatch import MirrorWatch
from agent.monitor import Monitor
from agent.nodehealth import ClusterHealth
from agent.peerstate import PeerState
from agent.probing import Probing
from agent.routing import Routing
from agent.tables import PeerListing, Tables
from agent.trace import Names, Tracer
from agent.verify import Verifier
from aiokit.health import Health
from certs import expiry
from kvstore.meter import Meter
from mesh.node import Node
from peering import report
from peering.claimsfile import ClaimsFile
from peering.peers import Peers


@dataclass
class Agent:
    """Filled in while the agent starts: the API answers from the first moment."""

    cluster_name: str
    node_name: str
    health: Health = field(default_factory=Health)
    datapath_health: Health = field(default_factory=Health)
    tables: Tables | None = None
    kubernetes: KubernetesSync | None = None
    datapath: Datapath | None = None
    lifecycle: Lifecycle | None = None
    peers: Peers | None = None
    meter: Meter = field(default_factory=Meter)  # of all connections to peers
    probing: Probing | None = None
    backends: BackendProbing | None = None
    mirror: MirrorWatch | None = None
    routing: Routing | None = None
    balancers: BalancerHealth | None = None
    mtu: int = 0  # of pods; 0 while the devices are not made
    pressure: Callable[[], Mapping[str, float]] = dict  # how full each kernel map is
    unfit: Callable[[], Mapping[str, int]] = dict  # for how many entries each has no room
    claims: ClaimsFile | None = None
    states: dict[str, PeerState] = field(default_factory=dict)  # of every peer there ever was
    monitor: Monitor | None = None
    verifier: Verifier | None = None
    tracer: Tracer | None = None
    dumps: Mapping[str, Any] = field(default_factory=dict)  # name -> callable of a kernel map's readable dump

    def peer_listings(self) -> list[PeerListing] | None:
        """The configured peers and whether they are listed; None while the configuration is unread."""
        if self.peers is None or not self.peers.is_read:
            return None
        known = self.peers.peers.keys()
        return [(self.states[name].cluster_id, self.states[name].is_listed) for name in known]

    def own_size(self) -> int:
        return max(1, len(self.kubernetes.view.nodes) if self.kubernetes else 0)

    def mesh_size(self) -> int:
        """How many nodes we know, our own included."""
        return self.own_size() + sum(1 for _ in self.peers_nodes())

    def peers_nodes(self) -> Iterator[Node]:
        for name in self.peers.peers if self.peers else ():
            yield from self.states[name].nodes.values()

    def node_called(self, address: str) -> str:
        """Cluster and name of the node with this address; "" for none that we know."""
        own = self.kubernetes.view.nodes.values() if self.kubernetes else ()
        return peernodes.called([*own, *self.peers_nodes()], address)

    def names(self) -> Names:
        """What a trace calls by name."""
        return Names(
            node=self.node_called,
            pod=lambda key: self.kubernetes.pod_addresses(key) if self.kubernetes else [],
            withdrawn=lambda: self.probing.withdrawn if self.probing else {},
        )

    def node_health(self, name: str) -> ClusterHealth:
        return self.probing.status(name) if self.probing else ClusterHealth()

    def is_programmed(self, state: PeerState) -> bool:
        """Everything of the peer's complete listing is in the kernel."""
        revision = state.listed_revision
        return revision is not None and self.datapath is not None and self.datapath.applied() >= revision

    def healthz(self) -> dict[str, Any]:
        kubernetes = self._kubernetes()
        said: dict[str, Any] = {
            "cilium": self._own(),
            "kubernetes": kubernetes,
            "kvstore": status.simple(status.DISABLED, "identities are allocated through Kubernetes"),
            "cluster": {"name": self.cluster_name, "self": f"{self.cluster_name}/{self.node_name}"},
            "datapath": status.from_health(self.datapath_health.status()),
            "bpf-maps": status.maps(self.pressure(), self.unfit()),
            "cluster-mesh": {"clusters": self.remote_clusters()},
            "peer-rules": status.rules(self.claims.problem if self.claims else ""),
        }
        if self.tables is not None:
            local = self.tables.node
            said["cluster"] = status.cluster(local)
            said["services"] = status.services(self.tables.services.problems())
            said["health-ports"] = status.health_ports(self.balancers.problems if self.balancers else {})
            said["identity-range"] = _identity_range(local)
            said["restored"] = self.tables.recovered_sizes()
            known = self.tables.policies
            said["policy"] = status.policies(len(known.names), known.unsupported, self._refused_policies())
        if self.probing is not None:
            probing = self.probing
            said["node-health"] = status.node_probes(
                probing.nodes, probing.withdrawn, self.node_called, probing.health_addresses
            )
        if self.backends is not None:
            said["backend-health"] = {"withdrawn": dict(sorted(self.backends.withdrawn.items()))}
        if self.tables is not None:
            told = self.routing.status() if self.routing else {}
            said["routes"] = {"mode": self.tables.node.routing_mode.value, **told}
        if self.lifecycle is not None:
            pools = self.lifecycle.pools
            texts = [f"{len(pool.owners)}/{pool.capacity} allocated from {pool.cidr}" for pool in pools.all]
            said["ipam"] = {"status": ", ".join(texts), "allocations": dict(pools.owners)}
        return said

    def is_ready(self) -> bool:
        return self._own()["state"] == status.OK

    def remote_clusters(self) -> list[dict[str, Any]]:
        peers = self.peers.peers if self.peers else {}
        return [
            report.remote_cluster(
                name,
                peer.status(),
                self.states[name].counts(),
                programmed=self.is_programmed(self.states[name]),
            )
            | status.planes(connected=peer.status().connected, health=self.node_health(name))
            for name, peer in peers.items()
        ]

    def global_services(self, wanted: str = "") -> list[dict[str, Any]]:
        """Services of several clusters, or the one called `wanted` ("namespace/name")."""
        if self.tables is None:
            return []
        return globalservices.described(self.tables.services, self.cluster_name, wanted=wanted)

    def nodes(self) -> dict[str, Any]:
        own = self.kubernetes.view.nodes if self.kubernetes else {}
        elements = [
            status.node(n, "local" if name == self.node_name else "custom-resource", qualified=True)
            for name, n in sorted(own.items())
        ]
        for name in self.peers.peers if self.peers else {}:
            found = self.states[name].nodes
            elements += [status.node(found[key], "clustermesh", qualified=True) for key in sorted(found)]
        return {"nodes": elements, "self": f"{self.cluster_name}/{self.node_name}"}

    def metrics(self) -> dict[str, float]:
        peers = self.peers.peers if self.peers else {}
        values = metrics.mesh(self.cluster_name, len(peers))
        for name, peer in peers.items():
            state = self.states[name]
            programmed = self.is_programmed(state)
            values |= metrics.peer(
                self.cluster_name, name, peer.status(), state.counts(), programmed=programmed
            )
            values |= metrics.withdrawals(self.cluster_name, name, self.node_health(name))
        now = datetime.now(UTC)
        for file in {file for peer in peers.values() for file in peer.certificate_files}:
            at = metrics.labels(file=str(file))
            values[f"clustermesh_certificate_remaining_seconds{at}"] = expiry.remaining_seconds(file, now)
            values[f"clustermesh_certificate_late{at}"] = expiry.is_late(file, now)
        healths = [self.node_health(name) for name in peers]
        values |= metrics.connectivity(self.cluster_name, self.node_name, healths)
        values |= metrics.map_pressure(self.pressure()) | metrics.map_unfit(self.unfit())
        values["clustermesh_datapath_ok"] = self.datapath_health.status().level == "ok"
        return values

    def _own(self) -> dict[str, str]:
        own = self.health.status()
        if own.level != "ok":
            return status.from_health(own)
        if self.datapath_health.status().level != "ok":
            return status.from_health(self.datapath_health.status())
        if self.lifecycle is not None and self.lifecycle.unstored:
            return status.simple(status.WARNING, self.lifecycle.unstored)
        return status.from_health(own)

    def _refused_policies(self) -> dict[str, str]:
        return self.kubernetes.view.policies_refused if self.kubernetes else {}

    def _kubernetes(self) -> dict[str, str]:
        if self.kubernetes is None:
            return status.simple(status.WARNING, "not connected yet")
        missing = [kind for kind in self.kubernetes.kinds if kind not in self.kubernetes.view.listed]
        if missing:
            return status.simple(status.WARNING, f"not listed yet: {', '.join(missing)}")
        return status.simple(status.OK, f"{len(self.kubernetes.kinds)} kinds are followed")


def _identity_range(local: LocalNode) -> dict[str, int]:
    layout = local.cluster.layout
    return {
        "min-identity": layout.minimum(local.cluster.cluster_id),
        "max-identity": layout.maximum(local.cluster.cluster_id),
    }
