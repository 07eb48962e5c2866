"""From a sender to one address: identity, what policy says on either side, and how packets get there.

Part of `agent.trace`. Answered from the tables, and held against what the kernel's maps say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Protocol

from agent import policygroup, verdict
from agent.cidrs import is_local
from agent.endpoints import Endpoint
from agent.errors import RequestError
from agent.ipcache import IPCacheEntry, Level
from agent.labels import from_texts, texts
from agent.policygroup import PolicyKey
from agent.tables import Tables
from agent.verdict import ALLOWED, Connection, Said
from bpf import endpoint_map
from mesh.addressing import Identity, ReservedIdentity
from mesh.cidr import labels_of
from mesh.identity import CLUSTER_LABEL, K8S, Label, Labels, reserved_labels
from mesh.localservice import Frontend
from mesh.matching import Backend
from mesh.routingmode import RoutingMode

UNKNOWN = "unknown"


class Held(Protocol):
    """What the kernel has: `agent.kernel.KernelMaps`."""

    def held_prefix(self, ip: str) -> IPCacheEntry | None: ...
    def held_deny(self, key: PolicyKey) -> bool | None: ...
    def held_endpoint(self, ip: str) -> endpoint_map.Endpoint | None: ...
    def recovered_backends(self) -> Mapping[Frontend, tuple[Backend, ...]]: ...


@dataclass(frozen=True, slots=True)
class Names:
    """What is known by name only outside of the tables."""

    node: Callable[[str], str]  # a node's address -> "cluster/node", or ""
    pod: Callable[[str], Sequence[str]]  # "namespace/pod" of our cluster -> its addresses
    withdrawn: Callable[[], Mapping[str, str]]  # a node's address -> why what is behind it is not used


class Paths:
    """Told one address at a time; the list beside it is what the kernel says otherwise."""

    def __init__(self, tables: Tables, held: Held, names: Names) -> None:
        self._tables = tables
        self._held = held
        self._names = names

    def tell(
        self, sender: Endpoint | None, identity: int, ip: str, port: int, protocol: int, *, far: bool = False
    ) -> tuple[dict[str, Any], list[str]]:
        """From the sender to one address. `far`: without a sender it may be elsewhere, too."""
        prefix, entry = self.longest(ip)
        there = entry.identity if entry else int(ReservedIdentity.WORLD)
        programmed = self._tables.policies.endpoints.entries.get(ip)
        receiver = programmed.endpoint if programmed else None
        differences = self._different_prefix(ip, entry)
        leaving = None
        if sender is not None:
            asked = Connection(there, port, protocol, True)
            leaving = self._said(sender, _same_family(sender, ip), asked, differences)
        if receiver is not None:
            arriving = self._said(receiver, ip, Connection(identity, port, protocol, False), differences)
            decided = "this node"
        elif sender is None and not far:
            raise RequestError(f"{ip} is no endpoint of this node: only its own can be asked for an identity")
        else:
            arriving, decided = self._elsewhere(there, Connection(identity, port, protocol, False))
        rank = self._tables.ipcache.rank_of(prefix) if prefix else None
        level = rank.level if rank else None
        told = {
            "address": ip,
            "port": port,
            "protocol": protocol,
            "prefix": prefix,
            "told-by": _told_by(level, rank.peer if rank else ""),
            "identity": there,
            "labels": texts(self.labels(there)),
            "egress": _as_object(leaving) if leaving else None,
            "delivery": self._delivery(entry, receiver, identity),
            "ingress": {**_as_object(arriving), "decided-by": decided},
        }
        return told, differences

    def longest(self, ip: str) -> tuple[str, IPCacheEntry | None]:
        entries = self._tables.ipcache.wanted.entries
        address = ip_address(ip)
        for bits in range(address.max_prefixlen, -1, -1):
            prefix = str(ip_network((address, bits), strict=False))
            if (entry := entries.get(prefix)) is not None:
                return prefix, entry
        return "", None

    def labels(self, identity: int) -> Labels:
        number = Identity(identity)
        if number in self._tables.identities.all:
            return self._tables.identities.all[number]
        if is_local(identity) and number in self._tables.policies.cidrs.all:
            return labels_of(self._tables.policies.cidrs.all[number])
        return reserved_labels(identity)

    def _said(self, endpoint: Endpoint, ip: str, asked: Connection, differences: list[str]) -> Said:
        """Of an endpoint of this node, at one of its addresses: as its policies say, and whether the kernel's
        entries say it too."""
        labels, ports = from_texts(list(endpoint.labels)), policygroup.named_ports(endpoint)
        said = verdict.said_by(*self._tables.policies.meaning(labels, ports, Identity(asked.identity)), asked)
        held = self._held.held_endpoint(ip)
        way = "egress" if asked.egress else "ingress"
        if held is None or held.endpoint_id != endpoint.id or held.identity != endpoint.identity:
            differences.append(f"cilium_lxc does not have {ip} as endpoint {endpoint.id}")
            return said
        enforced = held.egress_enforced if asked.egress else held.ingress_enforced
        real = verdict.looked_up(self._held.held_deny, endpoint.id, asked) if enforced else ALLOWED
        if real != said.verdict:
            differences.append(
                f"cilium_policy says {real} to identity {asked.identity} at endpoint {endpoint.id}'s {way}"
            )
        return said

    def _elsewhere(self, there: int, asked: Connection) -> tuple[Said, str]:
        """The receiver is on another node. Our own cluster's nodes have the policies that we have."""
        labels = self.labels(there)
        if not self._is_own(labels):
            cluster = next((label.value for label in labels if label.key == CLUSTER_LABEL), "")
            if not cluster:
                return Said(ALLOWED, "nothing of the mesh protects it", {}), "nobody"
            return Said(UNKNOWN, f"cluster {cluster} decides by its own policies", {}), f"cluster {cluster}"
        ports = self._tables.peer_ports.all.get(Identity(there), {})
        whole, single = self._tables.policies.meaning(labels, ports, Identity(asked.identity))
        return verdict.said_by(whole, single, asked), "its node, by the same policies"

    def _is_own(self, labels: Labels) -> bool:
        return Label(K8S, CLUSTER_LABEL, self._tables.node.cluster.name) in labels

    def _delivery(
        self, entry: IPCacheEntry | None, receiver: Endpoint | None, identity: int
    ) -> dict[str, Any]:
        if receiver is not None:
            return {"way": "local", "endpoint": receiver.id, "pod": receiver.pod}
        is_native = self._tables.node.routing_mode is RoutingMode.NATIVE
        if entry is not None and entry.tunnel and not is_native:
            name = self._names.node(entry.tunnel)
            return {"way": "tunnel", "node": entry.tunnel, "node-name": name, "vni": identity}
        return {"way": "direct"}

    def _different_prefix(self, ip: str, entry: IPCacheEntry | None) -> list[str]:
        held = self._held.held_prefix(ip)
        if held == entry:
            return []
        return [f"cilium_ipcache_v2 answers {_entry_text(held)} for {ip}, wanted is {_entry_text(entry)}"]


def _same_family(endpoint: Endpoint, ip: str) -> str:
    """The endpoint's address that packets to `ip` come from; its first where it has none of that family."""
    return next((own for own in endpoint.addresses if (":" in own) == (":" in ip)), endpoint.ipv4)


def _told_by(level: Level | None, peer: str) -> str:
    return "" if level is None else f"cluster {peer}" if peer else level.name.lower().replace("_", " ")


def _as_object(said: Said) -> dict[str, Any]:
    return {"verdict": said.verdict, "reason": said.reason, "rules": dict(said.rules)}


def _entry_text(entry: IPCacheEntry | None) -> str:
    if entry is None:
        return "nothing"
    return f"identity {entry.identity}" + (f" behind {entry.tunnel}" if entry.tunnel else "")
