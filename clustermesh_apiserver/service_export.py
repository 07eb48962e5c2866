"""Services and their EndpointSlices become global services (spec 2.8, 4.3). Pure.

Promises: whatever the order in which services, slices and namespaces come and go, `pairs()` is what
converting the final objects gives. A service that is no longer global, shared or in a global namespace
loses its pair. Where two slices name the same address, the later in name order wins, so that the same
objects always give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from clustermesh_apiserver.convert import Converter, ConvertError
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import Exported
from clustermesh_apiserver.slice import SliceBackends, owner, read_slice
from k8s.objects import EndpointSlice, Namespace, Service
from k8s.watch import ObjectDelta


class ServiceExport:
    """Folds deltas of services, slices and namespaces into changes of keys."""

    def __init__(self, converter: Converter, namespaces: GlobalNamespaces) -> None:
        self._converter = converter
        self._namespaces = namespaces
        self._services: dict[str, Service] = {}  # only those whose annotations export them
        self._slices: dict[str, dict[str, SliceBackends]] = {}  # service -> slice -> backends
        self._service_of: dict[str, str] = {}  # slice -> service
        self._pairs: dict[bytes, bytes] = {}
        self._key_of: dict[str, bytes] = {}  # service -> its key while it is exported
        self._refused: dict[str, str] = {}

    def pairs(self) -> dict[bytes, bytes]:
        return dict(self._pairs)

    def refused(self) -> int:
        return len(self._refused)

    def services(self, delta: ObjectDelta[Service]) -> Exported:
        for name in delta.removes:
            self._services.pop(name, None)
        for name, service in delta.upserts.items():
            if self._converter.is_exported(service):
                self._services[name] = service
            else:
                self._services.pop(name, None)
        return self._converge({*delta.removes, *delta.upserts})

    def slices(self, delta: ObjectDelta[EndpointSlice]) -> Exported:
        touched: set[str] = set()
        for name in delta.removes:
            touched |= self._drop_slice(name)
        for name, item in delta.upserts.items():
            touched |= self._drop_slice(name)
            touched |= self._keep_slice(name, item)
        return self._converge(touched)

    def namespaces(self, delta: ObjectDelta[Namespace]) -> Exported:
        turned = self._namespaces.apply(delta)
        return self._converge({name for name in self._services if name.partition("/")[0] in turned})

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

    def _converge(self, touched: Iterable[str]) -> Exported:
        exported = Exported()
        for name in sorted(touched):
            self._converge_one(name, exported)
        return exported

    def _converge_one(self, name: str, exported: Exported) -> None:
        pair = self._wanted(name, exported)
        key = self._key_of.get(name)
        if pair is None:
            if key is not None:
                del self._key_of[name], self._pairs[key]
                exported.changes[key] = None
        elif self._pairs.get(pair[0]) != pair[1]:
            self._key_of[name] = pair[0]
            self._pairs[pair[0]] = exported.changes[pair[0]] = pair[1]

    def _wanted(self, name: str, exported: Exported) -> tuple[bytes, bytes] | None:
        service = self._services.get(name)
        known = self._refused.pop(name, None)
        if service is None or name.partition("/")[0] not in self._namespaces:
            return None
        slices = self._slices.get(name, {})
        try:
            return self._converter.service(service, [slices[key] for key in sorted(slices)])
        except ConvertError as error:
            self._refused[name] = str(error)
            if self._refused[name] != known:
                exported.refused[name] = self._refused[name]
            return None
