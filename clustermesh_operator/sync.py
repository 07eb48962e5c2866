"""Other clusters' backends as EndpointSlices of a local Service, for whoever reads those (spec 5.5). Pure.

Agents and exporters leave such slices alone by their label: they have the backends from the other clusters
themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from clustermesh_operator.derived import owner
from k8s.core import Service
from k8s.resource import SERVICE
from k8s.share import is_headless
from mesh.endpointslice import MANAGED_BY, MESH_CONTROLLER
from mesh.ip import family
from mesh.mcs import SERVICE_NAME, SOURCE_CLUSTER
from mesh.preference import GLOBAL
from mesh.service import GlobalService, Port

Body = dict[str, Any]

SYNC = "service.cilium.io/global-sync-endpoint-slices"
MAX_ENDPOINTS = 100  # as Kubernetes' own controller makes them

_Ports = tuple[tuple[str, Port], ...]


def is_synced(service: Service) -> bool:
    """By its annotations; a headless one is when they do not say. Older names do not count here."""
    said = service.metadata.annotations
    if said.get(GLOBAL[0], "").lower() != "true":
        return False
    return said[SYNC].lower() == "true" if SYNC in said else is_headless(service)


def slices(service: Service, remote: GlobalService) -> Iterator[Body]:
    """All backends of one cluster: a slice has one address family and one list of ports."""
    groups: dict[tuple[int, _Ports], list[str]] = {}
    for address in sorted(remote.backends):
        ports = tuple(sorted(remote.backends[address].items()))
        groups.setdefault((family(address), ports), []).append(address)
    for (version, ports), addresses in groups.items():
        for start in range(0, len(addresses), MAX_ENDPOINTS):
            seed = f"{version} {ports} {start}"
            chunk = addresses[start : start + MAX_ENDPOINTS]
            yield {
                "metadata": _metadata(service, remote.cluster, seed),
                "addressType": f"IPv{version}",
                "endpoints": [_endpoint(address, remote) for address in chunk],
                "ports": [_port(name, port) for name, port in ports],
            }


def _metadata(service: Service, cluster: str, seed: str) -> Body:
    labels = {
        "kubernetes.io/service-name": service.metadata.name,
        SOURCE_CLUSTER: cluster,
        MANAGED_BY: MESH_CONTROLLER,
    }
    if imported := service.metadata.labels.get(SERVICE_NAME):
        labels[SERVICE_NAME] = imported
    suffix = hashlib.sha256(seed.encode()).hexdigest()[:10]
    return {
        "name": f"{service.metadata.name}-{cluster}-{suffix}",
        "namespace": service.metadata.namespace,
        "labels": labels,
        "ownerReferences": [owner(SERVICE, service.metadata)],
    }


def _endpoint(address: str, remote: GlobalService) -> Body:
    body: Body = {"addresses": [address], "conditions": {"ready": True}}
    if hostname := remote.hostnames.get(address):
        body["hostname"] = hostname
    if zone := remote.zones.get(address):
        body["zone"] = zone.zone
        if zone.for_zones:
            body["hints"] = {"forZones": [{"name": name} for name in zone.for_zones]}
    return body


def _port(name: str, port: Port) -> Body:
    body = {"protocol": port.protocol or "TCP", "port": port.port}
    return {"name": name, **body} if name else body
