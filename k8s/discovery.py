"""Kinds of discovery.k8s.io/v1: endpoint slices. Names are the wire's, as in `k8s.objects`."""

from __future__ import annotations

from msgspec import Struct

from k8s.objects import KubeObject, ObjectReference


class EndpointConditions(Struct, frozen=True):
    """None means unknown, which readers treat as true for `ready` and `serving`."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Struct, frozen=True):
    name: str = ""


class EndpointHints(Struct, frozen=True):
    forZones: tuple[ForZone, ...] = ()


class Endpoint(Struct, frozen=True):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""
    nodeName: str = ""
    zone: str = ""
    targetRef: ObjectReference = ObjectReference()
    hints: EndpointHints = EndpointHints()


class EndpointPort(Struct, frozen=True):
    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    appProtocol: str = ""


class EndpointSlice(KubeObject, frozen=True):
    addressType: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def service_name(self) -> str:
        return self.metadata.labels.get("kubernetes.io/service-name", "")

    @property
    def managed_by(self) -> str:
        return self.metadata.labels.get("endpointslice.kubernetes.io/managed-by", "")
