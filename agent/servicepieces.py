"""What a service is put together from, beside its own words: its slices, and what a restart found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mesh.addressing import ClusterID
from mesh.merge import UNNAMED, Backend, Frontend, LocalBackend, LocalService
from mesh.service import GlobalService, Port

Recovered = Mapping[ClusterID, Mapping[Frontend, tuple[Backend, ...]]]


def frontends(service: LocalService) -> set[Frontend]:
    return {
        Frontend(ip, port.port, port.protocol, service.outside)
        for ip in service.cluster_ips
        for port in service.ports
    }


def union(slices: Iterable[Iterable[LocalBackend]]) -> tuple[LocalBackend, ...]:
    """Addresses of all slices of a service; one address in two slices has the ports of both."""
    merged: dict[str, LocalBackend] = {}
    for backends in slices:
        for backend in backends:
            before = merged.get(backend.ip)
            merged[backend.ip] = backend if before is None else _both(before, backend)
    return tuple(merged[ip] for ip in sorted(merged))


def _both(one: LocalBackend, other: LocalBackend) -> LocalBackend:
    state = one.state if one.state == "active" else other.state
    return replace(other, ports={**one.ports, **other.ports}, state=state)


def recovered(service: LocalService, found: Recovered) -> list[GlobalService]:
    """What the kernel had for the service's frontends, as if the clusters had told it."""
    services: list[GlobalService] = []
    for cluster, entries in found.items():
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
