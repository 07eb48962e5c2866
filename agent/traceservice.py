"""The service that a connection would meet: its entry, its backends, and why each serves or does not.

Part of `agent.trace`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from agent.errors import NotFoundError
from agent.nodeports import ANY_NODE, ANY_NODE_IPV6
from agent.tables import Tables
from agent.tracepath import Held, Names, Paths
from bpf.lb_map import FLAG_EXTERNAL_LOCAL, FLAG_NODE_PORT
from mesh.addressing import ReservedIdentity
from mesh.annotationproblems import annotation_problems
from mesh.candidates import Candidate, candidates
from mesh.ip import family, with_port
from mesh.localservice import Frontend
from mesh.matching import Backend
from mesh.preference import is_global, is_shared, read

_NODES = (ReservedIdentity.HOST, ReservedIdentity.REMOTE_NODE, ReservedIdentity.KUBE_APISERVER)
MAX_CANDIDATES = 1000  # that an answer names, those that serve first


class ServiceLookup:
    def __init__(self, tables: Tables, held: Held, names: Names, paths: Paths) -> None:
        self._tables = tables
        self._held = held
        self._names = names
        self._paths = paths

    def find(self, name: str, port: int, protocol: str, namespace: str) -> Frontend | None:
        """The entry that a connection to this name or address would meet; None when it is no service's.

        Raises NotFoundError for a service that has no such port.
        """
        services = self._tables.services
        wanted = services.wanted.entries
        if is_address(name):
            if (found := self._at(name, port, protocol)) is not None:
                return found
            known = sorted(
                {
                    f"{f.port}/{f.protocol}"
                    for f in wanted
                    if f.ip == name and not services.master(f).flags & FLAG_NODE_PORT
                }
            )
            if known:
                raise NotFoundError(
                    f"the service at {name} has no port {port}/{protocol}: {', '.join(known)}"
                )
            return None
        for key in service_keys(name, namespace):
            if (service := services.local.get(key)) is None:
                continue
            for ip in service.cluster_ips:
                if (found := Frontend(ip, port, protocol)) in wanted:
                    return found
            if key not in services.here:
                raise NotFoundError(f"service {key} is not for this node: its annotations choose others")
            ports = ", ".join(f"{each.port}/{each.protocol}" for each in service.ports) or "none"
            raise NotFoundError(f"service {key} has no entry for {port}/{protocol}; its ports: {ports}")
        return None

    def _at(self, ip: str, port: int, protocol: str) -> Frontend | None:
        """As the socket programs look for it: every node's address has the node ports."""
        services = self._tables.services
        wanted = services.wanted.entries
        found = Frontend(ip, port, protocol)
        anywhere = Frontend(ANY_NODE_IPV6 if ":" in ip else ANY_NODE, port, protocol)
        if found in wanted and not services.master(found).flags & FLAG_EXTERNAL_LOCAL:
            return found
        return anywhere if anywhere in wanted and self._is_node(ip) else None

    def _is_node(self, ip: str) -> bool:
        if ":" not in ip:
            return bool(self._names.node(ip))
        _, entry = self._paths.longest(ip)
        return entry is not None and entry.identity in _NODES and not entry.tunnel

    async def tell(self, frontend: Frontend) -> tuple[dict[str, Any], list[str]]:
        services = self._tables.services
        key = services.owners.get(frontend, "")
        local = services.local.get(key)
        annotations = local.annotations if local else {}
        wish = read(annotations)
        chosen = services.wanted.entries.get(frontend, ())
        situation = services.situation(frontend, self._reasons())
        told: list[Candidate] = []
        if local is not None:
            every = await asyncio.to_thread(candidates, local, frontend, chosen, situation)
            elsewhere = {family(ip) for ip in local.cluster_ips} - {family(frontend.ip)}
            told = [each for each in every if family(each.ip) not in elsewhere]  # those serve at that address
        held = (await asyncio.to_thread(self._held.recovered_backends)).get(frontend)
        told_of = {
            "name": key,
            "frontend": _text(frontend),
            "global": is_global(annotations),
            "shared": is_shared(annotations),
            "affinity": wish.affinity.value,
            "minimum-local-backends": wish.minimum,
            "cluster-preference": list(wish.order) if wish.order is not None else None,
            "weights": dict(wish.weights) if wish.weights is not None else None,
            "problems": list(annotation_problems(annotations)),
            "candidates": [each._asdict() for each in told[:MAX_CANDIDATES]],
            "candidates-left-out": max(0, len(told) - MAX_CANDIDATES),
        }
        return told_of, _different_backends(frontend, chosen, held)

    def _reasons(self) -> dict[str, str]:
        """Remote backends' addresses -> why their node is not used."""
        nodes = self._names.withdrawn()
        found = {}
        for ip in self._tables.services.withdrawn:
            _, entry = self._paths.longest(ip)
            if entry is not None and entry.tunnel is not None and entry.tunnel in nodes:
                found[ip] = f"node {entry.tunnel}: {nodes[entry.tunnel]}"
        return found


def service_keys(name: str, namespace: str) -> list[str]:
    """web, shop/web, web.shop, web.shop.svc and web.shop.svc.cluster.local."""
    if "/" in name:
        return [name]
    parts = name.rstrip(".").removesuffix(".cluster.local").removesuffix(".svc").split(".")
    return [f"{parts[1]}/{parts[0]}"] if len(parts) == 2 else [f"{namespace}/{parts[0]}"]


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _different_backends(
    frontend: Frontend, wanted: Sequence[Backend], held: Sequence[Backend] | None
) -> list[str]:
    name = f"cilium_lb{family(frontend.ip)}_services_v2"
    if held is None:
        return [f"{name} has no entry for {_text(frontend)}"]
    here, there = ({(b.ip, b.port, b.protocol, b.cluster_id) for b in side} for side in (wanted, held))
    found = [f"{name} lacks backend {with_port(ip, port)}" for ip, port, *_ in sorted(here - there)]
    return found + [f"{name} leads to {with_port(ip, port)}" for ip, port, *_ in sorted(there - here)]


def _text(frontend: Frontend) -> str:
    return f"{with_port(frontend.ip, frontend.port)}/{frontend.protocol}"
