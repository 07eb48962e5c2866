"""Which Kubernetes objects feed which kind of keys (spec 4.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clustermesh_apiserver import pod_sources
from clustermesh_apiserver.convert import Converter
from clustermesh_apiserver.exporter import Exporter, Nothing, Source
from clustermesh_apiserver.follow import Follow
from clustermesh_apiserver.identities import Identities
from clustermesh_apiserver.mcs_export import MCSExport
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import ObjectExport
from clustermesh_apiserver.pod_export import PodExport
from clustermesh_apiserver.service_export import ServiceExport as GlobalServiceExport
from clustermesh_apiserver.slice_export import SliceExport
from k8s.cilium import CiliumEndpoint, CiliumEndpointSlice, CiliumIdentity, CiliumNode
from k8s.core import Namespace, Service
from k8s.discovery import EndpointSlice
from k8s.multicluster import ServiceExport
from k8s.resource import (
    CILIUMENDPOINT,
    CILIUMENDPOINTSLICE,
    CILIUMIDENTITY,
    CILIUMNODE,
    ENDPOINTSLICE,
    NAMESPACE,
    SERVICE,
    SERVICEEXPORT,
)
from mesh.addressing import PeerScope
from mesh.keys import Kind
from mesh.podlabels import DEFAULT_FILTER, LabelFilter
from mesh.servicemode import ServiceMode


def build(
    scope: PeerScope,
    follow: Follow,
    *,
    default_global_namespace: bool,
    endpoint_slices: bool = False,
    numbers: Identities | None = None,
    chosen_by: LabelFilter = DEFAULT_FILTER,
    mode: ServiceMode = ServiceMode.PREFER_LEGACY,
    mcs_api: bool = False,
) -> list[Exporter]:
    """One exporter for each of the six kinds, also for those that we have nothing to say about:
    peers wait for their canaries all the same.

    `numbers` is given where Cilium does not run: endpoints then come from Pods, and their identities from it.
    """
    converter = Converter(scope)

    def namespaces() -> GlobalNamespaces:
        return GlobalNamespaces(default_global_namespace)  # each export folds its own stream

    if numbers is None:
        who = _of_cilium(converter, namespaces, follow, endpoint_slices=endpoint_slices)
    else:
        export = PodExport(converter, scope.name, namespaces(), chosen_by)
        who = [
            pod_sources.nodes(converter, namespaces(), follow),
            pod_sources.identities(numbers),
            pod_sources.ips(export, numbers, follow),
        ]
    return [
        *who,
        _services(Kind.SERVICES, GlobalServiceExport(converter, namespaces()), follow)
        if mode.exports_services
        else Exporter(Kind.SERVICES, Nothing(), []),
        _services(Kind.ENDPOINTSLICES, SliceExport(converter, namespaces()), follow),
        _service_exports(MCSExport(scope, namespaces()), follow)
        if mcs_api
        else Exporter(Kind.SERVICEEXPORTS, Nothing(), []),
    ]


def _of_cilium(
    converter: Converter,
    namespaces: Callable[[], GlobalNamespaces],
    follow: Follow,
    *,
    endpoint_slices: bool,
) -> list[Exporter]:
    """Nodes, identities and IPs from Cilium's own objects."""
    nodes = ObjectExport(converter.node, namespaces())
    identities = ObjectExport(converter.identity, namespaces())
    of_identities: list[Source[Any]] = [
        Source("namespaces", lambda: follow(NAMESPACE, Namespace), identities.namespaces),
        Source("ciliumidentities", lambda: follow(CILIUMIDENTITY, CiliumIdentity), identities.objects),
    ]
    of_nodes = Source("ciliumnodes", lambda: follow(CILIUMNODE, CiliumNode), nodes.objects)
    return [
        Exporter(Kind.NODES, nodes, [of_nodes]),
        Exporter(Kind.IDENTITIES, identities, of_identities),
        _ips(converter, namespaces(), follow, in_slices=endpoint_slices),
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


def _services(kind: Kind, export: GlobalServiceExport | SliceExport, follow: Follow) -> Exporter:
    """Both ways of saying where a service's backends are read the same objects."""
    sources: list[Source[Any]] = [
        Source("namespaces", lambda: follow(NAMESPACE, Namespace), export.namespaces),
        Source("services", lambda: follow(SERVICE, Service), export.services),
        Source("endpointslices", lambda: follow(ENDPOINTSLICE, EndpointSlice), export.slices),
    ]
    return Exporter(kind, export, sources)


def _service_exports(export: MCSExport, follow: Follow) -> Exporter:
    sources: list[Source[Any]] = [
        Source("namespaces", lambda: follow(NAMESPACE, Namespace), export.namespaces),
        Source("services", lambda: follow(SERVICE, Service), export.services),
        Source("serviceexports", lambda: follow(SERVICEEXPORT, ServiceExport), export.exports),
    ]
    return Exporter(Kind.SERVICEEXPORTS, export, sources)
