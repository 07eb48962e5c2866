"""The way of one new connection, before anybody opens it: service, backends, identities, policies, tunnel.

Answered from the tables that the kernel's maps are made of, and held against what the maps say. Established
connections are not asked about: their packets pass whatever policy has become meanwhile. Opens nothing and
sends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Protocol

from agent import policy, verdict
from agent.cidrs import is_local
from agent.endpoints import Endpoint
from agent.errors import NotFoundError, RequestError
from agent.ipcache import IPCacheEntry, Level
from agent.labels import from_texts, texts
from agent.policy import PolicyKey
from agent.tables import Tables
from agent.verdict import ALLOWED, DENIED, Connection, Said
from bpf import endpoint_map
from bpf.lb_map import protocol_number
from mesh.addressing import Identity, ReservedIdentity
from mesh.cidr import labels_of
from mesh.identity import CLUSTER_LABEL, K8S, Label, Labels, reserved_labels
from mesh.merge import Backend, Frontend
from mesh.preference import is_global, is_shared, read

UNKNOWN, NO_BACKEND = "unknown", "no backend"
MAX_PATHS = 64  # backends whose way is told; a service may have ten thousand


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


class Tracer:
    def __init__(self, tables: Tables, held: Held, names: Names) -> None:
        self._tables = tables
        self._held = held
        self._names = names

    async def trace(self, source: str, destination: str, port: int, protocol: str = "TCP") -> dict[str, Any]:
        """For the API. `source`: an endpoint of this node by "namespace/pod", address or number; or
        "identity:<number>" for who comes from elsewhere, of whom only the arrival here is told.

        Raises NotFoundError and RequestError, in words for who asked.
        """
        number = protocol_number(protocol)  # ValueError
        sender, identity = self._source(source)
        frontend = self._frontend(destination, port, protocol.upper(), sender)
        service = await self._service(frontend) if frontend else {}
        chosen = service.pop("_chosen", None)
        if chosen is None:
            chosen = [(ip, port, number) for ip in self._addresses(destination)]
        differences = service.pop("_differences", [])
        paths = []
        for ip, to_port, to_protocol in chosen[:MAX_PATHS]:
            path = self._path(sender, identity, ip, to_port, to_protocol)
            differences += path.pop("_differences")
            paths.append(path)
        return {
            "source": _told(sender, identity, self._labels(identity)),
            "destination": {"asked": destination, "port": port, "protocol": protocol.upper()},
            "service": service or None,
            "paths": paths,
            "paths-left-out": max(0, len(chosen) - MAX_PATHS),
            "differences": differences,
            "verdict": _verdict(paths),
        }

    def _source(self, source: str) -> tuple[Endpoint | None, int]:
        if source.startswith("identity:"):
            text = source.removeprefix("identity:")
            if not (text.isascii() and text.isdecimal() and len(text) <= 10):
                raise RequestError(f"{text!r} is not an identity's number")
            return None, int(text)
        for endpoint in self._tables.endpoints.values():
            if source in (endpoint.pod, endpoint.ipv4, str(endpoint.id)):
                return endpoint, endpoint.identity
        raise NotFoundError(f"no endpoint of this node is {source!r}: ask the agent on its node")

    def _frontend(self, name: str, port: int, protocol: str, sender: Endpoint | None) -> Frontend | None:
        """The service's entry that a connection to this name or address would meet."""
        services = self._tables.services
        wanted = services.wanted.entries
        if _is_address(name):
            if (found := Frontend(name, port, protocol)) in wanted:
                return found
            known = sorted({f"{f.port}/{f.protocol}" for f in wanted if f.ip == name})
            if known:
                raise NotFoundError(
                    f"the service at {name} has no port {port}/{protocol}: {', '.join(known)}"
                )
            return None
        for key in _service_keys(name, sender.namespace if sender else "default"):
            if (service := services.local.get(key)) is None:
                continue
            for ip in service.cluster_ips:
                if (found := Frontend(ip, port, protocol)) in wanted:
                    return found
            ports = ", ".join(f"{each.port}/{each.protocol}" for each in service.ports) or "none"
            raise NotFoundError(f"service {key} has no entry for {port}/{protocol}; its ports: {ports}")
        return None

    def _addresses(self, name: str) -> Sequence[str]:
        if _is_address(name):
            return [name]
        for endpoint in self._tables.endpoints.values():
            if endpoint.pod == name:
                return [endpoint.ipv4]
        found = self._names.pod(name)
        if not found:
            raise NotFoundError(f"{name!r} is no service and no pod of this cluster: give an address")
        return found

    async def _service(self, frontend: Frontend) -> dict[str, Any]:
        services = self._tables.services
        key = services.owners.get(frontend, "")
        local = services.local.get(key)
        annotations = local.annotations if local else {}
        wish = read(annotations)
        chosen = services.wanted.entries.get(frontend, ())
        told = services.candidates(frontend, self._reasons())
        held = (await asyncio.to_thread(self._held.recovered_backends)).get(frontend)
        return {
            "name": key,
            "frontend": f"{frontend.ip}:{frontend.port}/{frontend.protocol}",
            "global": is_global(annotations),
            "shared": is_shared(annotations),
            "affinity": wish.affinity.value,
            "minimum-local-backends": wish.minimum,
            "cluster-preference": list(wish.order) if wish.order is not None else None,
            "weights": dict(wish.weights) if wish.weights is not None else None,
            "problems": list(wish.problems),
            "candidates": [each._asdict() for each in told],
            "_chosen": [(b.ip, b.port, protocol_number(b.protocol)) for b in chosen],
            "_differences": _different_backends(frontend, chosen, held),
        }

    def _reasons(self) -> dict[str, str]:
        """Remote backends' addresses -> why their node is not used."""
        nodes = self._names.withdrawn()
        found = {}
        for ip in self._tables.services.withdrawn:
            _, entry = self._longest(ip)
            if entry is not None and entry.tunnel is not None and entry.tunnel in nodes:
                found[ip] = f"node {entry.tunnel}: {nodes[entry.tunnel]}"
        return found

    def _path(
        self, sender: Endpoint | None, identity: int, ip: str, port: int, protocol: int
    ) -> dict[str, Any]:
        """From the sender to one address."""
        prefix, entry = self._longest(ip)
        there = entry.identity if entry else int(ReservedIdentity.WORLD)
        programmed = self._tables.policies.endpoints.entries.get(ip)
        receiver = programmed.endpoint if programmed else None
        differences = self._different_prefix(ip, entry)
        leaving = None
        if sender is not None:
            leaving = self._said(sender, Connection(there, port, protocol, True), differences)
        if receiver is not None:
            arriving = self._said(receiver, Connection(identity, port, protocol, False), differences)
            decided = "this node"
        elif sender is None:
            raise RequestError(f"{ip} is no endpoint of this node: only its own can be asked for an identity")
        else:
            arriving, decided = self._elsewhere(there, Connection(identity, port, protocol, False))
        rank = self._tables.ipcache.rank_of(prefix) if prefix else None
        level = rank.level if rank else None
        return {
            "address": ip,
            "port": port,
            "protocol": protocol,
            "prefix": prefix,
            "told-by": _told_by(level, rank.peer if rank else ""),
            "identity": there,
            "labels": texts(self._labels(there)),
            "egress": _as_object(leaving) if leaving else None,
            "delivery": self._delivery(entry, receiver, identity),
            "ingress": {**_as_object(arriving), "decided-by": decided},
            "_differences": differences,
        }

    def _longest(self, ip: str) -> tuple[str, IPCacheEntry | None]:
        entries = self._tables.ipcache.wanted.entries
        address = ip_address(ip)
        for bits in range(address.max_prefixlen, -1, -1):
            prefix = str(ip_network((address, bits), strict=False))
            if (entry := entries.get(prefix)) is not None:
                return prefix, entry
        return "", None

    def _labels(self, identity: int) -> Labels:
        number = Identity(identity)
        if number in self._tables.identities.all:
            return self._tables.identities.all[number]
        if is_local(identity) and number in self._tables.policies.cidrs.all:
            return labels_of(self._tables.policies.cidrs.all[number])
        return reserved_labels(identity)

    def _said(self, endpoint: Endpoint, asked: Connection, differences: list[str]) -> Said:
        """Of an endpoint of this node: as its policies say, and whether the kernel's entries say it too."""
        labels, ports = from_texts(list(endpoint.labels)), policy.named_ports(endpoint)
        said = verdict.said_by(*self._tables.policies.meaning(labels, ports, Identity(asked.identity)), asked)
        held = self._held.held_endpoint(endpoint.ipv4)
        way = "egress" if asked.egress else "ingress"
        if held is None or held.endpoint_id != endpoint.id or held.identity != endpoint.identity:
            differences.append(f"cilium_lxc does not have {endpoint.ipv4} as endpoint {endpoint.id}")
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
        labels = self._labels(there)
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
        if entry is not None and entry.tunnel:
            name = self._names.node(entry.tunnel)
            return {"way": "tunnel", "node": entry.tunnel, "node-name": name, "vni": identity}
        return {"way": "direct"}

    def _different_prefix(self, ip: str, entry: IPCacheEntry | None) -> list[str]:
        held = self._held.held_prefix(ip)
        if held == entry:
            return []
        return [f"cilium_ipcache_v2 answers {_entry_text(held)} for {ip}, wanted is {_entry_text(entry)}"]


def _service_keys(name: str, namespace: str) -> list[str]:
    """web, shop/web, web.shop, web.shop.svc and web.shop.svc.cluster.local."""
    if "/" in name:
        return [name]
    parts = name.rstrip(".").removesuffix(".cluster.local").removesuffix(".svc").split(".")
    return [f"{parts[1]}/{parts[0]}"] if len(parts) == 2 else [f"{namespace}/{parts[0]}"]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _told(endpoint: Endpoint | None, identity: int, labels: Labels) -> dict[str, Any]:
    if endpoint is None:
        return {"identity": identity, "labels": texts(labels)}
    return {
        "endpoint": endpoint.id,
        "pod": endpoint.pod,
        "ip": endpoint.ipv4,
        "identity": identity,
        "labels": list(endpoint.labels),
    }


def _told_by(level: Level | None, peer: str) -> str:
    return "" if level is None else f"cluster {peer}" if peer else level.name.lower().replace("_", " ")


def _as_object(said: Said) -> dict[str, Any]:
    return {"verdict": said.verdict, "reason": said.reason, "rules": dict(said.rules)}


def _different_backends(
    frontend: Frontend, wanted: Sequence[Backend], held: Sequence[Backend] | None
) -> list[str]:
    if held is None:
        return [f"cilium_lb4_services_v2 has no entry for {frontend.ip}:{frontend.port}/{frontend.protocol}"]
    here, there = ({(b.ip, b.port, b.protocol, b.cluster_id) for b in side} for side in (wanted, held))
    found = [f"cilium_lb4_services_v2 lacks backend {ip}:{port}" for ip, port, *_ in sorted(here - there)]
    return found + [f"cilium_lb4_services_v2 leads to {ip}:{port}" for ip, port, *_ in sorted(there - here)]


def _entry_text(entry: IPCacheEntry | None) -> str:
    if entry is None:
        return "nothing"
    return f"identity {entry.identity}" + (f" behind {entry.tunnel}" if entry.tunnel else "")


def _verdict(paths: Sequence[Mapping[str, Any]]) -> str:
    """The worst of what may happen; a connection meets one of the paths."""
    if not paths:
        return NO_BACKEND
    found = {side["verdict"] for path in paths for side in (path["egress"], path["ingress"]) if side}
    return next((each for each in (DENIED, UNKNOWN) if each in found), ALLOWED)
