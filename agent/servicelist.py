"""Services as the agent's API lists them: Cilium's objects (spec 8.1), by frontend. Pure."""

from __future__ import annotations

from typing import Any

from agent.services import Services
from bpf import lb_map
from bpf.lb_wanted import PLAIN
from mesh.localservice import LOCAL_CLUSTER, Frontend
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
            "flags": _kind(owner, bits),
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


def _kind(owner: str, flags: int) -> dict[str, str]:
    namespace, _, name = owner.partition("/")
    kind = next((word for flag, word in _KINDS.items() if flags & flag), "ClusterIP")
    return {"type": kind, "namespace": namespace, "name": name}
