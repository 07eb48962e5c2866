"""The objects behind an import: ServiceImport, derived Service, mirrored EndpointSlices (spec 5.6). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from k8s.core import Service
from k8s.discovery import Endpoint, EndpointSlice
from k8s.multicluster import ServiceImport
from k8s.objects import ObjectMeta
from k8s.resource import SERVICE, SERVICEIMPORT, Resource
from k8s.share import is_headless
from mesh.endpointslice import MANAGED_BY, MESH_CONTROLLER
from mesh.mcs import DERIVED_SERVICE, SERVICE_NAME, SOURCE_CLUSTER, Merged, derived_name
from mesh.preference import GLOBAL
from mesh.serviceexport import HEADLESS, ServiceExport, ServicePort

Body = dict[str, Any]

# the exported Service's slices, once more for the derived one; unlike MESH_CONTROLLER's they are exported
MIRROR = "endpointslice-local-mcsapi-controller.cilium.io"
_KUBERNETES_SERVICE_NAME = "kubernetes.io/service-name"


def is_derived(service: Service, item: ServiceImport | None = None) -> bool:
    """Whether it was made for an import; with `item`: for that one."""
    named = service.metadata.labels.get(SERVICE_NAME, "")
    owners = [owner for owner in service.metadata.ownerReferences if owner.kind == SERVICEIMPORT.kind]
    names = {owner.name for owner in owners}
    if (
        not named
        or names != {named}
        or service.metadata.name != derived_name(service.metadata.namespace, named)
    ):
        return False
    return item is None or item.metadata.uid in {owner.uid for owner in owners}


def service_import(merged: Merged, current: ServiceImport | None, ips: tuple[str, ...]) -> Body:
    """`ips`: where the derived Service is."""
    spec, held = merged.spec, current.metadata if current else ObjectMeta()
    annotations = {**spec.annotations, DERIVED_SERVICE: derived_name(spec.namespace, spec.name)}
    return {
        "metadata": {
            "name": spec.name,
            "namespace": spec.namespace,
            "labels": _exactly(spec.labels, held.labels),
            "annotations": _exactly(annotations, held.annotations),
        },
        "spec": {
            "type": spec.type,
            "ports": [_port(port) for port in spec.ports],
            "ips": list(ips),
            "ipFamilies": list(spec.ip_families),
            **_traffic(spec),
        },
    }


def service(
    merged: Merged,
    item: ServiceImport,
    current: Service | None,
    exported: Service | None,
    families: tuple[str, ...],
    *,
    annotations: Mapping[str, str],
) -> Body:
    """`exported`: the local Service of this name, when it is exported: it knows what its pods listen on.
    `annotations`: beside those of the import, whose own win."""
    spec, held = merged.spec, current.metadata if current else ObjectMeta()
    own = exported.spec.ports if exported else ()
    targets = {(port.protocol, port.port): port.targetPort for port in own}
    ports = [
        {**_port(port), "targetPort": targets.get((port.protocol, port.port)) or port.port}
        for port in spec.ports
    ]
    said = {**annotations, **spec.annotations, GLOBAL[0]: "true"}
    body = {
        "metadata": {
            "name": derived_name(spec.namespace, spec.name),
            "namespace": spec.namespace,
            "labels": {SERVICE_NAME: spec.name},
            "annotations": _exactly(said, held.annotations),
            "ownerReferences": [owner(SERVICEIMPORT, item.metadata)],
        },
        "spec": {
            "type": "ClusterIP",
            "ports": ports,
            "ipFamilies": list(families),
            "ipFamilyPolicy": "SingleStack" if len(families) == 1 else "PreferDualStack",
            **_traffic(spec),
        },
    }
    if spec.type == HEADLESS:
        body["spec"]["clusterIP"] = "None"
    return body


def fits(service: Service, merged: Merged) -> bool:
    """Whether it can become what it should be: it cannot get, or lose, its address."""
    return is_headless(service) == (merged.spec.type == HEADLESS)


def is_exported_slice(item: EndpointSlice) -> bool:
    """Neither a mirror itself nor another cluster's."""
    return bool(item.service_name) and item.managed_by not in (MIRROR, MESH_CONTROLLER)


def mirrored(item: EndpointSlice, exported: Service, derived: Service, cluster: str) -> Body | None:
    """The same endpoints, of the derived Service; None when those are nothing to it.

    A port that is defined otherwise there is left out: what is sent to it is meant for another cluster's.
    """
    if derived.spec.ipFamilies and item.addressType not in derived.spec.ipFamilies:
        return None
    wanted = {(port.name, port.protocol, port.port) for port in derived.spec.ports}
    same = {p.name for p in exported.spec.ports if (p.name, p.protocol, p.port) in wanted}
    ports = [_without_empty(msgspec.to_builtins(port)) for port in item.ports if port.name in same]
    if item.ports and not ports:
        return None
    seed = f"{item.metadata.name}/{item.addressType}"  # a slice cannot change its address type
    suffix = hashlib.sha256(seed.encode()).hexdigest()[:10]
    labels = {
        _KUBERNETES_SERVICE_NAME: derived.metadata.name,
        MANAGED_BY: MIRROR,
        SERVICE_NAME: derived.metadata.labels[SERVICE_NAME],
        SOURCE_CLUSTER: cluster,
    }
    return {
        "metadata": {
            "name": f"{derived.metadata.name}-{suffix}",
            "namespace": item.metadata.namespace,
            "labels": labels,
            "ownerReferences": [owner(SERVICE, derived.metadata)],
        },
        "addressType": item.addressType,
        "endpoints": [_endpoint(endpoint) for endpoint in item.endpoints],
        "ports": ports,
    }


def is_mirror_of(current: EndpointSlice, body: Body) -> bool:
    """Whether nothing needs to be written."""
    metadata = body["metadata"]
    return (
        metadata["labels"].items() <= current.metadata.labels.items()
        and [owner.uid for owner in current.metadata.ownerReferences]
        == [metadata["ownerReferences"][0]["uid"]]
        and [_endpoint(endpoint) for endpoint in current.endpoints] == body["endpoints"]
        and [_without_empty(msgspec.to_builtins(port)) for port in current.ports] == body["ports"]
    )


def _exactly(wanted: Mapping[str, str], held: Mapping[str, str]) -> dict[str, str | None]:
    """Nothing else may be there."""
    return {**dict.fromkeys(held), **wanted}


def _port(port: ServicePort) -> Body:
    body = {"name": port.name, "protocol": port.protocol, "port": port.port, "appProtocol": port.app_protocol}
    left: Body = _without_empty(body)
    return left


def _traffic(spec: ServiceExport) -> Body:
    """None: as the server has it by default."""
    config = spec.session_affinity_config
    client_ip = config.client_ip if config else None
    return {
        "sessionAffinity": spec.session_affinity,
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": client_ip.timeout_seconds}}
        if client_ip
        else None,
        "internalTrafficPolicy": spec.internal_traffic_policy or "Cluster",
        "trafficDistribution": spec.traffic_distribution,
    }


def owner(resource: Resource, metadata: ObjectMeta) -> Body:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
    }


def _endpoint(endpoint: Endpoint) -> Body:
    body: Body = _without_empty(msgspec.to_builtins(endpoint))
    return {**body, "addresses": list(endpoint.addresses)}


def _without_empty(value: Any) -> Any:
    """As writers leave things out; `false` says something and stays."""
    if isinstance(value, dict):
        cleared = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in cleared.items() if item or item is False}
    if isinstance(value, list | tuple):
        return [_without_empty(item) for item in value]
    return value
