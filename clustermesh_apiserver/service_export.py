"""Services and their EndpointSlices become global services (spec 2.8, 4.3). Pure.

Promises: whatever the order in which services, slices and namespaces come and go, `pairs()` is what
converting the final objects gives. A service that is no longer global, shared or in a global namespace
loses its pair. Where two slices name the same address, the later in name order wins, so that the same
objects always give the same bytes.
"""

from __future__ import annotations

from clustermesh_apiserver.convergence import Convergence, Pair
from clustermesh_apiserver.convert import Converter
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import Exported
from clustermesh_apiserver.slice import SliceBackends, owner, read_slice
from k8s.core import Namespace, Service
from k8s.discovery import EndpointSlice
from k8s.watch import ObjectDelta


class ServiceExport:
    """Folds deltas of services, slices and namespaces into changes of keys."""

    def __init__(self, converter: Converter, namespaces: GlobalNamespaces) -> None:
        self._converter = converter
        self._namespaces = namespaces
        self._services: dict[str, Service] = {}  # only those whose annotations export them
        self._slices: dict[str, dict[str, SliceBackends]] = {}  # service -> slice -> backends
        self._service_of: dict[str, str] = {}  # slice -> service
        self._exported = Convergence(self._wanted)

    def pairs(self) -> dict[bytes, bytes]:
        return self._exported.pairs()

    def refused(self) -> int:
        return self._exported.refused()

    def services(self, delta: ObjectDelta[Service]) -> Exported:
        for name in delta.removes:
            self._services.pop(name, None)
        for name, service in delta.upserts.items():
            if self._converter.is_exported(service):
                self._services[name] = service
            else:
                self._services.pop(name, None)
        return self._exported.converge({*delta.removes, *delta.upserts})

    def slices(self, delta: ObjectDelta[EndpointSlice]) -> Exported:
        touched: set[str] = set()
        for name in delta.removes:
            touched |= self._drop_slice(name)
        for name, item in delta.upserts.items():
            touched |= self._drop_slice(name)
            touched |= self._keep_slice(name, item)
        return self._exported.converge(touched)

    def namespaces(self, delta: ObjectDelta[Namespace]) -> Exported:
        turned = self._namespaces.apply(delta)
        return self._exported.converge({name for name in self._services if name.partition("/")[0] in turned})

    def _drop_slice(self, name: str) -> set[str]:
        service = self._service_of.pop(name, None)
        if service is None:
            return set()
        slices = self._slices[service]
        del slices[name]
        if not slices:
            del self._slices[service]
        return {service}

    def _keep_slice(self, name: str, item: EndpointSlice) -> set[str]:
        service = owner(item)
        if not service:
            return set()
        self._service_of[name] = service
        self._slices.setdefault(service, {})[name] = read_slice(item)
        return {service}

    def _wanted(self, name: str) -> Pair | None:
        service = self._services.get(name)
        if service is None or name.partition("/")[0] not in self._namespaces:
            return None
        slices = self._slices.get(name, {})
        return self._converter.service(service, [slices[key] for key in sorted(slices)])
