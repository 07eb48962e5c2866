"""EndpointSlices from Services' selectors and their pods. Pure.

Each of a Service's IP families has slices of its own, with the pods' addresses of that family.
Pods whose named ports have different numbers go into different slices, as in Kubernetes. Ports keep the
Service's names, because that is how endpoints of other clusters are matched.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Any

import msgspec

from k8s.core import Service, ServicePort
from k8s.discovery import EndpointSlice
from k8s.resource import ENDPOINTSLICE
from lab.api.families import IPV4, family
from lab.control.world import Body, Create, Delete, Patch, World, Write, matches
from lab.manifest import Pod

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGER_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"

Ports = tuple[tuple[str, str, int], ...]  # name, protocol, number


def control(world: World) -> list[Write]:
    wanted = {}
    for service in world.services.values():
        for body in slices_of(service, world):
            wanted[f"{body['metadata']['namespace']}/{body['metadata']['name']}"] = body
    writes: list[Write] = []
    for key, body in wanted.items():
        before = world.slices.get(key)
        if before is None:
            writes.append(Create(ENDPOINTSLICE, body))
        elif not _holds(before, body):
            meta = body["metadata"]
            writes.append(Patch(ENDPOINTSLICE, meta["namespace"], meta["name"], body))
    for key, held in world.slices.items():
        if held.metadata.labels.get(MANAGER_LABEL) == MANAGER and key not in wanted:
            writes.append(Delete(ENDPOINTSLICE, held.metadata.namespace, held.metadata.name))
    return writes


def slices_of(service: Service, world: World) -> list[Body]:
    """The slices a Service should have; one a family, even if empty, so that readers see that it was looked
    at."""
    if not service.spec.selector or service.spec.type == "ExternalName":
        return []
    return [body for kind in service.spec.ipFamilies or (IPV4,) for body in _slices_of(service, world, kind)]


def _slices_of(service: Service, world: World, kind: str) -> list[Body]:
    by_ports: dict[Ports, list[tuple[Pod, str]]] = defaultdict(list)
    for pod in world.pods.values():
        address = _address(pod, kind)
        if address and _is_behind(service, pod):
            by_ports[tuple(_resolve(port, pod) for port in service.spec.ports)].append((pod, address))
    if not by_ports:
        by_ports[()] = []
    # named by number, not by ports: most Services have one slice, and it keeps its name for life
    groups = enumerate(sorted(by_ports.items(), key=_ports_only))
    return [_slice(service, kind, i, *group) for i, group in groups]


def _ports_only(group: tuple[Ports, list[tuple[Pod, str]]]) -> Ports:
    return group[0]


def _address(pod: Pod, kind: str) -> str:
    addresses = [each.ip for each in pod.status.podIPs] or [pod.status.podIP]
    return next((ip for ip in addresses if ip and family(ip) == kind), "")


def _is_behind(service: Service, pod: Pod) -> bool:
    same = pod.metadata.namespace == service.metadata.namespace
    return same and matches(service.spec.selector, pod.metadata.labels)


def _resolve(port: ServicePort, pod: Pod) -> tuple[str, str, int]:
    """The port as the pod has it; 0 for a name that the pod does not know."""
    if isinstance(port.targetPort, int):
        return port.name, port.protocol, _number(port)
    named = (p for container in pod.spec.containers for p in container.ports)
    found = (p.containerPort for p in named if p.name == port.targetPort and p.protocol == port.protocol)
    return port.name, port.protocol, next(found, 0)


def _number(port: ServicePort) -> int:
    return port.targetPort or port.port if isinstance(port.targetPort, int) else port.port


def _slice(service: Service, kind: str, index: int, ports: Ports, pods: list[tuple[Pod, str]]) -> Body:
    meta = service.metadata
    seed = f"{meta.uid}/{index}" if kind == IPV4 else f"{meta.uid}/{kind}/{index}"
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{meta.name}-{digest[:5]}",
            "namespace": meta.namespace,
            "labels": {SERVICE_LABEL: meta.name, MANAGER_LABEL: MANAGER},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": meta.name,
                    "uid": meta.uid,
                    "controller": True,
                }
            ],
        },
        "addressType": kind,
        "endpoints": [_endpoint(*each) for each in sorted(pods, key=lambda each: each[0].metadata.name)],
        "ports": [
            {"name": name, "protocol": protocol, "port": number} for name, protocol, number in ports if number
        ],
    }


def _endpoint(pod: Pod, address: str) -> dict[str, Any]:
    return {
        "addresses": [address],
        "conditions": {
            "ready": pod.is_ready and not pod.metadata.is_ending,
            "serving": pod.is_ready,
            "terminating": pod.metadata.is_ending,
        },
        "nodeName": pod.spec.nodeName,
        "targetRef": {
            "kind": "Pod",
            "namespace": pod.metadata.namespace,
            "name": pod.metadata.name,
            "uid": pod.metadata.uid,
        },
    }


def _holds(held: EndpointSlice, body: Body) -> bool:
    wanted = msgspec.convert(body, EndpointSlice)
    return (
        held.endpoints == wanted.endpoints
        and held.ports == wanted.ports
        and matches(wanted.metadata.labels, held.metadata.labels)
    )
