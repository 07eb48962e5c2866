"""Services as the agent's API lists them: Cilium's objects (spec 8.1), by frontend. Pure."""

from __future__ import annotations

from typing import Any

from agent.services import Services
from bpf import lb_map
from bpf.lb_wanted import PLAIN
from mesh.localservice import LOCAL_CLUSTER, Frontend, LocalService
from mesh.matching import Backend
from mesh.preference import Affinity, affinity

_KINDS = {
    lb_map.FLAG_NODE_PORT: "NodePort",
    lb_map.FLAG_LOAD_BALANCER: "LoadBalancer",
    lb_map.FLAG_EXTERNAL_IP: "ExternalIPs",
}


def listed(services: Services) -> list[dict[str, Any]]:
    masters, owners, local = services.masters.entries, services.owners, services.local
    sides = {key: affinity(service.annotations) for key, service in local.items()}
    found = []
    for number, (frontend, backends) in enumerate(sorted(services.wanted.entries.items()), 1):
        owner, bits = owners.get(frontend, ""), masters.get(frontend, PLAIN).flags
        side = sides.get(owner, Affinity.NONE)
        spec = {
            "id": number,
            "frontend-address": _address(frontend, bits),
            "backend-addresses": [_backend(backend, side) for backend in backends],
            "flags": _flags(owner, bits, local.get(owner)),
        }
        found.append({"spec": spec})
    return found


def _backend(backend: Backend, side: Affinity) -> dict[str, Any]:
    """`preferred` is said of those alone that the affinity prefers, as in Cilium."""
    is_own = backend.cluster_id == LOCAL_CLUSTER
    is_preferred = side is (Affinity.LOCAL if is_own else Affinity.REMOTE)
    return {
        "ip": backend.ip,
        "port": backend.port,
        "protocol": backend.protocol,
        "state": "active",
        "cluster-id": backend.cluster_id,
        **({"preferred": True} if is_preferred else {}),
    }


def _address(frontend: Frontend, flags: int) -> dict[str, Any]:
    """Of scope `internal` where clients outside get what another entry at this address says."""
    scope = "internal" if flags & lb_map.FLAG_TWO_SCOPES else "external"
    return {"ip": frontend.ip, "port": frontend.port, "protocol": frontend.protocol, "scope": scope}


def _flags(owner: str, flags: int, service: LocalService | None) -> dict[str, Any]:
    namespace, _, name = owner.partition("/")
    kind = next((word for flag, word in _KINDS.items() if flags & flag), "ClusterIP")
    told: dict[str, Any] = {"type": kind, "namespace": namespace, "name": name}
    if service is None:
        return told
    outside = _policy(node_only=service.outside_node_only)
    told |= {"extTrafficPolicy": outside, "trafficPolicy": outside}  # the second is the first's older name
    told["intTrafficPolicy"] = _policy(node_only=service.node_only)
    return told | ({"healthCheckNodePort": service.health_port} if service.health_port else {})


def _policy(*, node_only: bool) -> str:
    return "Local" if node_only else "Cluster"
