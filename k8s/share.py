"""A ServiceExport and its Service as this cluster's share of a service of many (spec 2.10, 5.6). Pure.

Both its writer and whoever merges it with the shares of others make it here, so that they agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from k8s import core, multicluster
from k8s.core import Service
from mesh.ip import family
from mesh.serviceexport import (
    CLUSTER_SET_IP,
    HEADLESS,
    ClientIPConfig,
    ServiceExport,
    ServicePort,
    SessionAffinityConfig,
)

GLOBAL_NAMESPACE = "clustermesh.cilium.io/global"

_NO_CLUSTER_IP = "None"  # a headless Service's
_FAMILIES = {4: "IPv4", 6: "IPv6"}


class Invalid(Enum):
    """Why a ServiceExport exports nothing: reasons of its condition."""

    NO_SERVICE = "NoService"
    SERVICE_TYPE = "InvalidServiceType"
    NAMESPACE = "NamespaceNotGlobal"


def is_global_namespace(annotations: Mapping[str, str]) -> bool | None:
    """What the Namespace says of itself; None: the cluster's default decides (spec 5.3)."""
    value = annotations.get(GLOBAL_NAMESPACE)
    return None if value is None else value.lower() == "true"


def is_headless(service: Service) -> bool:
    return service.spec.clusterIP == _NO_CLUSTER_IP


def problem(service: Service | None, *, is_global: bool) -> Invalid | None:
    """Why this Service cannot be exported."""
    if service is None:
        return Invalid.NO_SERVICE
    if service.spec.type == "ExternalName":
        return Invalid.SERVICE_TYPE
    return None if is_global else Invalid.NAMESPACE


def share(cluster: str, export: multicluster.ServiceExport, service: Service) -> ServiceExport:
    """For a Service that has no `problem`. Readers insist on what an API server fills in: so it is here."""
    spec = service.spec
    return ServiceExport(
        cluster=cluster,
        namespace=export.metadata.namespace,
        name=export.metadata.name,
        created=export.metadata.creationTimestamp,
        ports=tuple(
            ServicePort(port.name, port.protocol, port.port, port.appProtocol or None) for port in spec.ports
        ),
        type=HEADLESS if is_headless(service) else CLUSTER_SET_IP,
        session_affinity=spec.sessionAffinity or "None",
        session_affinity_config=_affinity_config(spec.sessionAffinityConfig),
        ip_families=spec.ipFamilies or _families(spec.clusterIPs or (spec.clusterIP,)),
        internal_traffic_policy=spec.internalTrafficPolicy or None,
        traffic_distribution=spec.trafficDistribution or None,
        annotations=export.spec.exportedAnnotations,
        labels=export.spec.exportedLabels,
    )


def _affinity_config(config: core.SessionAffinityConfig | None) -> SessionAffinityConfig | None:
    if config is None:
        return None
    return SessionAffinityConfig(ClientIPConfig(config.clientIP.timeoutSeconds) if config.clientIP else None)


def _families(cluster_ips: tuple[str, ...]) -> tuple[str, ...]:
    found = (_FAMILIES[family(ip)] for ip in cluster_ips if ip and ip != _NO_CLUSTER_IP)
    return tuple(dict.fromkeys(found)) or ("IPv4",)
