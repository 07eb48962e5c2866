"""Backends that a client's zone should use: Kubernetes' topology-aware routing (spec 5.2). Pure.

The hints come from whoever made the EndpointSlice; peers' travel with their services. As in kube-proxy they
count only when they leave nobody without an answer: every backend has one, and some are for our zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mesh.ip import canonical_ip
from mesh.matching import Backend
from mesh.service import Zone

ZONE_LABEL = "topology.kubernetes.io/zone"
MODES = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
DISTRIBUTIONS = frozenset({"PreferClose", "PreferSameZone", "PreferSameNode"})

Zones = Mapping[str, Zone]  # by address, as its source writes it
Members = Mapping[str, Sequence[Backend]]  # by cluster


def is_zonal(annotations: Mapping[str, str], distribution: str) -> bool:
    """Whether a Service asks for it: by an annotation (the first name that is present counts), or in its
    `trafficDistribution`."""
    said = next((annotations[name] for name in MODES if name in annotations), "")
    return said in ("Auto", "auto") or distribution in DISTRIBUTIONS


def in_zone(zone: str, members: Members, zones: Mapping[str, Zones]) -> Members:
    """The `members` that are for clients of `zone`, or all where that cannot be said. `zones`: what each
    cluster says of its own."""
    kept: dict[str, list[Backend]] = {}
    for cluster, backends in members.items():
        hints = {canonical_ip(ip) or ip: said.for_zones for ip, said in zones.get(cluster, {}).items()}
        for backend in backends:
            wanted = hints.get(backend.ip)
            if not wanted:
                return members
            if zone in wanted:
                kept.setdefault(cluster, []).append(backend)
    return kept or members
