"""One cluster's data as its exporter writes it, on any backend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kvstore.backend import Writable
from mesh import clusterconfig, identity, ipcache, keys, node, service
from mesh.addressing import ClusterID, Identity
from mesh.clusterconfig import ClusterConfig
from mesh.identity import SecurityIdentity
from mesh.ipcache import IPEntry
from mesh.keys import Kind
from mesh.node import Node, NodeAddress
from mesh.service import GlobalService, Port
from tests.agent.values import labels, number

KINDS = (Kind.NODES, Kind.IDENTITIES, Kind.IPS, Kind.SERVICES)
STAMP = b"2026-11-23T09:15:02Z"
FILE = b"endpoints: [http://192.0.2.1:2379]\n"


@dataclass
class PeerData:
    """`publish` writes everything in the order of an exporter: data, canaries, configuration."""

    name: str = "west"
    id: int = 2
    node_ip: str = "198.18.2.11"
    ips: tuple[str, ...] = ("10.2.1.5", "10.2.1.6")
    cached: bool = False
    canaries: bool = True
    identities: dict[Identity, str] = field(default_factory=dict)

    @property
    def identity(self) -> Identity:
        return number(self.id, 7)

    def config(self, **changes: int) -> bytes:
        return clusterconfig.encode(
            ClusterConfig(
                changes.get("id", self.id), self.canaries, self.cached, changes.get("max_connected", 255)
            )
        )

    def pairs(self) -> dict[Kind, dict[str, bytes]]:
        addresses = (
            NodeAddress("InternalIP", self.node_ip),
            NodeAddress("CiliumInternalIP", f"10.{self.id}.1.1"),
        )
        entries = [IPEntry(ip, None, self.identity, self.node_ip, 0, "shop", f"web-{ip}") for ip in self.ips]
        http = {"http": Port("TCP", 8080)}
        return {
            Kind.NODES: dict(
                [
                    node.encode(
                        Node("node-1", self.name, ClusterID(self.id), addresses, f"10.{self.id}.1.0/24")
                    )
                ]
            ),
            Kind.IDENTITIES: dict(
                [identity.encode(SecurityIdentity(self.identity, labels("web", self.name)))]
            ),
            Kind.IPS: dict(ipcache.encode(entry) for entry in entries),
            Kind.SERVICES: dict(
                [
                    service.encode(
                        GlobalService(
                            self.name,
                            "shop",
                            "web",
                            {f"172.20.{self.id}.5": {"http": Port("TCP", 80)}},
                            dict.fromkeys(self.ips, http),
                            cluster_id=ClusterID(self.id),
                        )
                    )
                ]
            ),
        }

    def prefix(self, kind: Kind) -> bytes:
        return keys.cache_prefix(kind, self.name) if self.cached else keys.state_prefix(kind, self.name)

    async def publish(self, store: Writable, *, kinds: Iterable[Kind] = KINDS) -> None:
        await store.put(keys.HEARTBEAT, STAMP)
        for kind, entries in self.pairs().items():
            for suffix, value in entries.items():
                await store.put(self.prefix(kind) + suffix.encode(), value)
        for kind in kinds:
            await self.canary(store, kind)
        await store.put(keys.cluster_config(self.name), self.config())

    async def canary(self, store: Writable, kind: Kind) -> None:
        await store.put(keys.synced_key(kind, self.name, cached=self.cached), STAMP)
