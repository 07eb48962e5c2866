"""EndpointSlices of exported services become endpoint slices of the mesh (spec 2.9, 4.3). Pure.

Promises: whatever the order in which services, slices and namespaces come and go, `pairs()` is what
converting the final objects gives. A slice is published as it is, with its labels and annotations, while
its service is global, shared and in a global namespace.
"""

from __future__ import annotations

from clustermesh_apiserver.convergence import Convergence, Pair
from clustermesh_apiserver.convert import Converter
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import Exported
from clustermesh_apiserver.slice import owner
from k8s.core import Namespace, Service
from k8s.discovery import EndpointSlice
from k8s.watch import ObjectDelta


class SliceExport:
    """Folds deltas of services, slices and namespaces into changes of keys."""

    def __init__(self, converter: Converter, namespaces: GlobalNamespaces) -> None:
        self._converter = converter
        self._namespaces = namespaces
        self._services: set[str] = set()  # those whose annotations export them
        self._slices: dict[str, EndpointSlice] = {}
        self._members: dict[str, set[str]] = {}  # service -> its slices
        self._exported = Convergence(self._wanted)

    def pairs(self) -> dict[bytes, bytes]:
        return self._exported.pairs()

    def refused(self) -> int:
        return self._exported.refused()

    def services(self, delta: ObjectDelta[Service]) -> Exported:
        exported = {name for name, item in delta.upserts.items() if self._converter.is_exported(item)}
        withdrawn = (delta.upserts.keys() | delta.removes) - exported
        turned = (exported - self._services) | (withdrawn & self._services)
        self._services = (self._services | exported) - withdrawn
        return self._exported.converge(name for service in turned for name in self._members.get(service, ()))

    def slices(self, delta: ObjectDelta[EndpointSlice]) -> Exported:
        for name in {*delta.removes, *delta.upserts}:
            self._drop(name)
        for name, item in delta.upserts.items():
            service = owner(item)
            if service:
                self._slices[name] = item
                self._members.setdefault(service, set()).add(name)
        return self._exported.converge({*delta.removes, *delta.upserts})

    def namespaces(self, delta: ObjectDelta[Namespace]) -> Exported:
        turned = self._namespaces.apply(delta)
        return self._exported.converge([name for name in self._slices if name.partition("/")[0] in turned])

    def _drop(self, name: str) -> None:
        item = self._slices.pop(name, None)
        if item is None:
            return
        service = owner(item)
        members = self._members[service]
        members.discard(name)
        if not members:
            del self._members[service]

    def _wanted(self, name: str) -> Pair | None:
        item = self._slices.get(name)
        if item is None or owner(item) not in self._services:
            return None
        if item.metadata.namespace not in self._namespaces:
            return None
        value = self._converter.slice(item)
        return None if value is None else (name.encode(), value)
