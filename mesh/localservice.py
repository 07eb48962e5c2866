"""A Service of our own cluster, as Kubernetes tells it, and its endpoints. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from mesh.addressing import UNSET_CLUSTER
from mesh.localoptions import Algorithm
from mesh.matching import ServicePort, Source
from mesh.service import Port, Zone

LOCAL_CLUSTER = UNSET_CLUSTER  # the cluster id of our own backends


class Frontend(NamedTuple):
    """`outside`: for clients outside, where others get something else at the same address."""

    ip: str
    port: int
    protocol: str
    outside: bool = False


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """One of our own endpoints; it says `terminating` when it still serves but wants no new connections."""

    ip: str
    ports: Mapping[str, Port]
    state: Literal["active", "terminating"] = "active"
    node: str = ""
    zone: Zone | None = None


@dataclass(frozen=True, slots=True)
class LocalService:
    """What Kubernetes says of the service here. `node_only`: clients of a node use its own backends only;
    `zonal`: those that are for their zone. `sticky`: session affinity by client, for so many seconds after
    its last connection; 0: none. It is a local property (spec 5.2): other clusters' Services do not count.
    `outside_node_only`: as `node_only`, for clients from outside of the cluster. `balancer_ips` and
    `external_ips` are those of `cluster_ips` where such clients meet the service; at the former only those of
    `source_ranges` (networks; empty: all) may, or with `ranges_deny` all others. `outside`: it is as those
    clients see it. `health_port`: where nodes tell load balancers whether they have endpoints; 0: nowhere.
    `node_families`: in which it is served at node ports. `algorithm`: how clients outside get backends."""

    namespace: str
    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    node_only: bool = False
    zonal: bool = False
    sticky: int = 0
    outside_node_only: bool = False
    balancer_ips: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    ranges_deny: bool = False
    outside: bool = False
    health_port: int = 0
    node_families: tuple[int, ...] = ()
    algorithm: Algorithm = Algorithm.DEFAULT


def frontends(local: LocalService) -> set[Frontend]:
    return {
        Frontend(ip, port.port, port.protocol, local.outside)
        for ip in local.cluster_ips
        for port in local.ports
    }


def local_sources(
    local: LocalService, backends: Iterable[LocalBackend], *, node: str = "", name: str = ""
) -> list[tuple[Source, bool]]:
    """Our own endpoints by whether they are active."""
    endpoints: dict[bool, dict[str, Mapping[str, Port]]] = {}
    zones: dict[str, Zone] = {}
    for backend in backends:
        if not local.node_only or backend.node == node:
            endpoints.setdefault(backend.state == "active", {})[backend.ip] = backend.ports
            if backend.zone is not None:
                zones[backend.ip] = backend.zone
    return [
        (Source(f"local/{name}/{is_active}", LOCAL_CLUSTER, found, zones), is_active)
        for is_active, found in endpoints.items()
    ]
