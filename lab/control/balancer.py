"""LoadBalancer addresses: the nodes that run a ready pod of the Service on their own network. Pure.

Nothing is balanced: such a pod already answers on its node's address. While none is ready, the last
addresses stay, because peers keep them in their configuration.
"""

from __future__ import annotations

from k8s.core import Service
from k8s.resource import SERVICE
from lab.control.world import Patch, World, Write, matches


def control(world: World) -> list[Write]:
    writes: list[Write] = []
    for service in world.services.values():
        if service.spec.type != "LoadBalancer":
            continue
        wanted = addresses(service, world)
        if wanted and wanted != [each.ip for each in service.status.loadBalancer.ingress]:
            status = {"loadBalancer": {"ingress": [{"ip": ip} for ip in wanted]}}
            meta = service.metadata
            writes.append(Patch(SERVICE, meta.namespace, meta.name, {"status": status}, "status"))
    return writes


def addresses(service: Service, world: World) -> list[str]:
    if not service.spec.selector:
        return []
    return sorted(
        {
            pod.status.hostIP
            for pod in world.pods.values()
            if pod.metadata.namespace == service.metadata.namespace
            and matches(service.spec.selector, pod.metadata.labels)
            and pod.spec.hostNetwork
            and pod.is_ready
            and not pod.metadata.is_ending
            and pod.status.hostIP
        }
    )
