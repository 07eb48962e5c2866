"""Exporters of a cluster that does not run Cilium: Nodes, Pods and Namespaces, numbers from our etcd."""

from __future__ import annotations

from typing import Any

from clustermesh_apiserver.convert import Converter
from clustermesh_apiserver.exporter import Exporter, Nothing, Source
from clustermesh_apiserver.follow import Follow
from clustermesh_apiserver.identities import Identities
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import Exported, ObjectExport
from clustermesh_apiserver.pod_export import PodExport
from k8s.cilium import CiliumIdentity
from k8s.core import Namespace, Node, Pod
from k8s.resource import NAMESPACE, NODE, POD
from k8s.watch import ObjectDelta
from mesh.keys import Kind


def nodes(converter: Converter, namespaces: GlobalNamespaces, follow: Follow) -> Exporter:
    export: ObjectExport[Node] = ObjectExport(converter.core_node, namespaces)
    return Exporter(Kind.NODES, export, [Source("nodes", lambda: follow(NODE, Node), export.objects)])


def identities(numbers: Identities) -> Exporter:
    """The keys are the allocator's; here it is only said when all that are wanted stand."""
    source = Source("numbers", numbers.follow, _nothing)
    return Exporter(Kind.IDENTITIES, Nothing(), [source], prunes=False)


def ips(export: PodExport, numbers: Identities, follow: Follow) -> Exporter:
    """`numbers` is told what is wanted once pods and namespaces are listed, and after every change."""
    unlisted = {"pods", "namespaces"}

    def heard(name: str, delta: ObjectDelta[Any], exported: Exported) -> Exported:
        if delta.synced:
            unlisted.discard(name)
        if not unlisted:
            numbers.want(export.wanted)
        return exported

    def pods(delta: ObjectDelta[Pod]) -> Exported:
        return heard("pods", delta, export.pods(delta))

    def namespaces(delta: ObjectDelta[Namespace]) -> Exported:
        return heard("namespaces", delta, export.namespaces(delta))

    sources: list[Source[Any]] = [
        Source("namespaces", lambda: follow(NAMESPACE, Namespace), namespaces),
        Source("pods", lambda: follow(POD, Pod), pods),
        Source("numbers", numbers.follow, export.numbers),
    ]
    return Exporter(Kind.IPS, export, sources)


def _nothing(_: ObjectDelta[CiliumIdentity]) -> Exported:
    return Exported()
