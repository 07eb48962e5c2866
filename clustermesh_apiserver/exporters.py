"""Which Kubernetes objects feed which kind of keys (spec 4.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol, TypeVar

from clustermesh_apiserver.convert import Converter
from clustermesh_apiserver.exporter import Exporter, Source
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import ObjectExport
from clustermesh_apiserver.service_export import ServiceExport
from clustermesh_apiserver.slice_export import SliceExport
from k8s.objects import (
    CiliumEndpoint,
    CiliumEndpointSlice,
    CiliumIdentity,
    CiliumNode,
    EndpointSlice,
    KubeObject,
    Namespace,
    Service,
)
from k8s.resource import (
    CILIUMENDPOINT,
    CILIUMENDPOINTSLICE,
    CILIUMIDENTITY,
    CILIUMNODE,
    ENDPOINTSLICE,
    NAMESPACE,
    SERVICE,
    Resource,
)
from k8s.watch import ObjectDelta
from mesh.addressing import PeerScope
from mesh.keys import Kind
from mesh.servicemode import ServiceMode

T = TypeVar("T", bound=KubeObject)


class Follow(Protocol):
    """Opens an endless stream of one kind's objects, as `k8s.watch.follow` does."""

    def __call__(self, resource: Resource, type_: type[T], /) -> AsyncIterator[ObjectDelta[T]]: ...


def build(
    scope: PeerScope,
    follow: Follow,
    *,
    default_global_namespace: bool,
    endpoint_slices: bool = False,
    mode: ServiceMode = ServiceMode.PREFER_LEGACY,
) -> list[Exporter]:
    """One exporter for each of the six kinds, also for those that we have nothing to say about:
    peers wait for their canaries all the same."""
    converter = Converter(scope)

    def namespaces() -> GlobalNamespaces:
        return GlobalNamespaces(default_global_namespace)  # each export folds its own stream

    nodes = ObjectExport(converter.node, namespaces())
    identities = ObjectExport(converter.identity, namespaces())
    return [
        Exporter(
            Kind.NODES,
            nodes,
            [Source("ciliumnodes", lambda: follow(CILIUMNODE, CiliumNode), nodes.objects)],
        ),
        Exporter(
            Kind.IDENTITIES,
            identities,
            [
                Source("namespaces", lambda: follow(NAMESPACE, Namespace), identities.namespaces),
                Source(
                    "ciliumidentities", lambda: follow(CILIUMIDENTITY, CiliumIdentity), identities.objects
                ),
            ],
        ),
        _ips(converter, namespaces(), follow, in_slices=endpoint_slices),
        _services(Kind.SERVICES, ServiceExport(converter, namespaces()), follow)
        if mode.exports_services
        else Exporter(Kind.SERVICES, Nothing(), []),
        _services(Kind.ENDPOINTSLICES, SliceExport(converter, namespaces()), follow),
        Exporter(Kind.SERVICEEXPORTS, Nothing(), []),
    ]


def _ips(converter: Converter, namespaces: GlobalNamespaces, follow: Follow, *, in_slices: bool) -> Exporter:
    """From CiliumEndpoints, or from the slices into which Cilium's operator packs them."""
    export: ObjectExport[Any]
    if in_slices:
        export = ObjectExport(converter.endpoint_slice, namespaces)
        objects = Source(
            "ciliumendpointslices", lambda: follow(CILIUMENDPOINTSLICE, CiliumEndpointSlice), export.objects
        )
    else:
        export = ObjectExport(converter.endpoint, namespaces)
        objects = Source("ciliumendpoints", lambda: follow(CILIUMENDPOINT, CiliumEndpoint), export.objects)
    within = Source("namespaces", lambda: follow(NAMESPACE, Namespace), export.namespaces)
    return Exporter(Kind.IPS, export, [within, objects])


def _services(kind: Kind, export: ServiceExport | SliceExport, follow: Follow) -> Exporter:
    """Both ways of saying where a service's backends are read the same objects."""
    sources: list[Source[Any]] = [
        Source("namespaces", lambda: follow(NAMESPACE, Namespace), export.namespaces),
        Source("services", lambda: follow(SERVICE, Service), export.services),
        Source("endpointslices", lambda: follow(ENDPOINTSLICE, EndpointSlice), export.slices),
    ]
    return Exporter(kind, export, sources)


class Nothing:
    """The export of a kind that we have nothing to say about."""

    def pairs(self) -> dict[bytes, bytes]:
        return {}

    def refused(self) -> int:
        return 0
