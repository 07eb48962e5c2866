"""Exports of one service from many clusters -> what all of them import (spec 5.6). Pure.

The oldest export decides; of equally old ones the cluster's name does. Ports are the union, IP families what
all have in common. The result is the same for the same exports, in whatever order they are given.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from mesh.serviceexport import ClientIPConfig, ServiceExport, ServicePort

# on the ServiceImport, and on the Service that its clients are sent to
DERIVED_SERVICE = "multicluster.kubernetes.io/derived-service"
SERVICE_NAME = "multicluster.kubernetes.io/service-name"
SOURCE_CLUSTER = "multicluster.kubernetes.io/source-cluster"

_NAME_LENGTH = 10


class Reason(Enum):
    """Why exports conflict, in the order in which conflicts are looked for."""

    PORTS = "PortConflict"
    IP_FAMILIES = "IPFamilyConflict"
    TYPE = "TypeConflict"
    SESSION_AFFINITY = "SessionAffinityConflict"
    SESSION_AFFINITY_CONFIG = "SessionAffinityConfigConflict"
    ANNOTATIONS = "AnnotationsConflict"
    LABELS = "LabelsConflict"
    INTERNAL_TRAFFIC_POLICY = "InternalTrafficPolicyConflict"
    TRAFFIC_DISTRIBUTION = "TrafficDistributionConflict"


def _client_ip(item: ServiceExport) -> ClientIPConfig | None:
    return item.session_affinity_config.client_ip if item.session_affinity_config else None


_COMPARED: Mapping[Reason, Callable[[ServiceExport], object]] = {
    Reason.TYPE: lambda item: item.type,
    Reason.SESSION_AFFINITY: lambda item: item.session_affinity,
    Reason.SESSION_AFFINITY_CONFIG: _client_ip,
    Reason.ANNOTATIONS: lambda item: item.annotations,
    Reason.LABELS: lambda item: item.labels,
    Reason.INTERNAL_TRAFFIC_POLICY: lambda item: item.internal_traffic_policy,
    Reason.TRAFFIC_DISTRIBUTION: lambda item: item.traffic_distribution,
}


@dataclass(frozen=True, slots=True)
class Conflict:
    """The first conflict among the exports; `clusters` are those that do not say what is imported."""

    reason: Reason
    oldest: str
    clusters: tuple[str, ...]

    @property
    def message(self) -> str:
        # bounded by the number of clusters, whose names are short
        return f"what is imported is not what {', '.join(self.clusters)} said; the oldest is of {self.oldest}"


@dataclass(frozen=True, slots=True)
class Merged:
    """What to import. `spec` is the oldest export with the ports and IP families of all together."""

    spec: ServiceExport
    clusters: tuple[str, ...]
    conflict: Conflict | None = None


def derived_name(namespace: str, name: str) -> str:
    """The Service behind an import: found from the import's name alone, in every cluster the same."""
    digest = hashlib.sha256(f"{namespace}/{name}".encode()).digest()
    return "derived-" + base64.b32hexencode(digest).decode().lower()[:_NAME_LENGTH]


def merge(exports: Iterable[ServiceExport]) -> Merged | None:
    """The exports of one service as one; None when there are none."""
    ordered = sorted(exports, key=lambda item: (item.created_at, item.cluster))
    if not ordered:
        return None
    oldest = ordered[0]
    families, apart = _families(ordered)
    counted = [item for item in ordered if item.cluster not in apart]
    ports, odd = _ports(counted)
    spec = replace(oldest, ports=ports, ip_families=families)
    return Merged(spec, tuple(item.cluster for item in counted), _conflict(ordered, odd, apart))


def _families(ordered: Sequence[ServiceExport]) -> tuple[tuple[str, ...], list[str]]:
    """What all have in common, and the clusters that are left out because they share nothing with it."""
    common = ordered[0].ip_families
    apart = []
    for item in ordered[1:]:
        shared = tuple(family for family in common if family in item.ip_families)
        if shared:
            common = shared
        else:
            apart.append(item.cluster)
    return common, apart


def _ports(ordered: Sequence[ServiceExport]) -> tuple[tuple[ServicePort, ...], list[str]]:
    """The union, and the clusters whose ports are others: more of them there, or other definitions.

    A Service must be able to have them: no name twice, no number twice, and names for all of several.
    """
    union: list[ServicePort] = []
    for item in ordered:
        for port in map(_complete, item.ports):
            if port not in union and not any(_clash(port, known) for known in union):
                union.append(port)
    odd = [item.cluster for item in ordered if set(map(_complete, item.ports)) != set(union)]
    return tuple(union), odd


def _complete(port: ServicePort) -> ServicePort:
    return port if port.protocol else replace(port, protocol="TCP")


def _clash(port: ServicePort, known: ServicePort) -> bool:
    if port == known:
        return False
    same_number = (port.protocol, port.port) == (known.protocol, known.port)
    return same_number or port.name == known.name or not (port.name and known.name)


def _conflict(ordered: Sequence[ServiceExport], odd: list[str], apart: list[str]) -> Conflict | None:
    oldest = ordered[0]
    found = {Reason.PORTS: odd, Reason.IP_FAMILIES: apart} | {
        reason: [item.cluster for item in ordered if said(item) != said(oldest)]
        for reason, said in _COMPARED.items()
    }
    return next(
        (Conflict(reason, oldest.cluster, tuple(found[reason])) for reason in Reason if found[reason]), None
    )
