"""Services of several clusters as one agent has them: which cluster serves, and how much of it is used. Pure.

For whoever asks why a cluster does not answer: the numbers that decide, in the order in which they do. No
addresses and no names of pods: this is also told over TCP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.services import Services
from mesh.annotationproblems import annotation_problems
from mesh.localservice import LOCAL_CLUSTER, LocalService, frontends
from mesh.preference import Preference, is_shared, read
from mesh.service import GlobalService, Port


def described(services: Services, own: str, *, wanted: str = "") -> list[dict[str, Any]]:
    """Every service that is global here or told by a peer, by name; or only `wanted` ("namespace/name")."""
    local = services.local
    names = [wanted] if wanted else sorted(services.meshed)
    return [
        _service(services, key, local.get(key), own) for key in names if key in local or services.remotes(key)
    ]


def _service(services: Services, key: str, local: LocalService | None, own: str) -> dict[str, Any]:
    namespace, _, name = key.partition("/")
    annotations = local.annotations if local else {}
    wish = read(annotations)
    used = _used(services, key, local)
    backends = services.local_backends(key)
    ours = {
        "name": own,
        "backends": sum(backend.state == "active" for backend in backends),
        "matching": sum(_matches(local, backend.ports) for backend in backends),
        "used": len(used.get(LOCAL_CLUSTER, ())),
    }
    remotes = sorted(services.remotes(key).items())
    return {
        "namespace": namespace,
        "name": name,
        "exists": local is not None,
        "here": local is None or services.is_here(local),  # else it is for other nodes
        "global": wish.is_global,
        "shared": is_shared(annotations),
        "node-only": local is not None and local.node_only,
        "preference": _preference(wish),
        "problems": list(annotation_problems(annotations)),
        "clusters": [ours, *(_cluster(services, peer, remote, local, used) for peer, remote in remotes)],
    }


def _cluster(
    services: Services,
    peer: str,
    remote: GlobalService,
    local: LocalService | None,
    used: Mapping[int, set[str]],
) -> dict[str, Any]:
    return {
        "name": peer,
        "backends": len(remote.backends),
        "matching": sum(_matches(local, ports) for ports in remote.backends.values()),
        "used": len(used.get(remote.cluster_id, ())),
        "withdrawn": len(services.withdrawn & remote.backends.keys()),
        "waiting": len(services.waiting & remote.backends.keys()),
    }


def _matches(local: LocalService | None, ports: Mapping[str, Port]) -> bool:
    """Whether one of the Service's ports finds its name among these."""
    wanted = local.ports if local else ()
    return any(port.name in ports and ports[port.name].protocol == port.protocol for port in wanted)


def _used(services: Services, key: str, local: LocalService | None) -> Mapping[int, set[str]]:
    """Cluster id -> addresses of the backends that new connections go to; at node ports where it is served
    there alone."""
    found: dict[int, set[str]] = {}
    if local is None:
        return found
    wanted = services.wanted.entries
    for frontend in frontends(local) or services.frontends(key):
        for backend in wanted.get(frontend, ()):
            found.setdefault(backend.cluster_id, set()).add(backend.ip)
    return found


def _preference(wish: Preference) -> str:
    """In words, as the annotations have it; empty when all clusters count alike."""
    if wish.order is not None:
        return f"order {', '.join(wish.order)}"
    parts = [] if wish.affinity.value == "none" else [f"affinity {wish.affinity.value}"]
    if wish.minimum > 1:
        parts.append(f"at least {wish.minimum} local")
    if wish.weights:
        parts.append("weights " + ", ".join(f"{name}={weight}" for name, weight in wish.weights.items()))
    return ", ".join(parts)
