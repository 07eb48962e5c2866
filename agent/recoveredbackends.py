"""Backends of other clusters that an earlier life of this agent left in the kernel. Pure.

For a peer that has not been listed yet they go through the merge as if that peer had told them (rule 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from mesh.addressing import ClusterID
from mesh.localservice import Frontend, LocalService
from mesh.matching import Backend
from mesh.offer import UNNAMED
from mesh.service import GlobalService, Port

Entries = Mapping[Frontend, tuple[Backend, ...]]


class RecoveredBackends:
    def __init__(self) -> None:
        self._of: dict[ClusterID, Entries] = {}

    @property
    def clusters(self) -> frozenset[ClusterID]:
        return frozenset(self._of)

    @property
    def addresses(self) -> set[str]:
        return {b.ip for entries in self._of.values() for backends in entries.values() for b in backends}

    def replace(self, found: Mapping[ClusterID, Entries]) -> set[Frontend]:
        """The frontends that have such backends now."""
        self._of = {cluster: dict(entries) for cluster, entries in found.items()}
        return {frontend for entries in found.values() for frontend in entries}

    def forget(self, cluster: ClusterID) -> set[Frontend]:
        """The cluster has spoken, or is not configured any more. The frontends that lose backends."""
        return set(self._of.pop(cluster, {}))

    def served_by(self, addresses: Set[str]) -> set[Frontend]:
        return {
            frontend
            for entries in self._of.values()
            for frontend, backends in entries.items()
            if any(backend.ip in addresses for backend in backends)
        }

    def told(self, service: LocalService) -> list[GlobalService]:
        """What the kernel had for the service's frontends, as if the clusters had told it."""
        services: list[GlobalService] = []
        for cluster, entries in self._of.items():
            backends: dict[str, dict[str, Port]] = {}
            for port in service.ports:
                for ip in service.cluster_ips:
                    for backend in entries.get(Frontend(ip, port.port, port.protocol, service.outside), ()):
                        ports = backends.setdefault(backend.ip, {})
                        ports[port.name] = Port(backend.protocol, backend.port)
            if backends:
                services.append(_as_told(service, cluster, backends))
        return services


def _as_told(
    service: LocalService, cluster: ClusterID, backends: dict[str, dict[str, Port]]
) -> GlobalService:
    return GlobalService(
        cluster=UNNAMED,
        namespace=service.namespace,
        name=service.name,
        frontends={},
        backends=backends,
        hostnames={},
        zones={},
        labels={},
        selector={},
        include_external=True,
        shared=True,
        cluster_id=cluster,
    )
