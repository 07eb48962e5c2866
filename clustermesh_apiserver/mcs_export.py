"""ServiceExports and their Services become shares of services of many clusters (spec 2.10, 5.6). Pure.

Promises: whatever the order in which exports, services and namespaces come and go, `pairs()` is what
converting the final objects gives. What readers would refuse is refused here, in the same words.
"""

from __future__ import annotations

from clustermesh_apiserver.convergence import Convergence, Pair
from clustermesh_apiserver.convert import ConvertError
from clustermesh_apiserver.namespaces import GlobalNamespaces
from clustermesh_apiserver.object_export import Exported
from k8s.core import Namespace, Service
from k8s.multicluster import ServiceExport
from k8s.share import problem, share
from k8s.watch import ObjectDelta
from mesh import serviceexport
from mesh.addressing import PeerScope
from mesh.errors import DecodeError


class MCSExport:
    """Folds deltas of exports, services and namespaces into changes of keys."""

    def __init__(self, scope: PeerScope, namespaces: GlobalNamespaces) -> None:
        self._scope = scope
        self._namespaces = namespaces
        self._exports: dict[str, ServiceExport] = {}
        self._services: dict[str, Service] = {}
        self._exported = Convergence(self._wanted)

    def pairs(self) -> dict[bytes, bytes]:
        return self._exported.pairs()

    def refused(self) -> int:
        return self._exported.refused()

    def exports(self, delta: ObjectDelta[ServiceExport]) -> Exported:
        for name in delta.removes:
            self._exports.pop(name, None)
        self._exports.update(delta.upserts)
        return self._exported.converge({*delta.removes, *delta.upserts})

    def services(self, delta: ObjectDelta[Service]) -> Exported:
        for name in delta.removes:
            self._services.pop(name, None)
        self._services.update(delta.upserts)
        return self._exported.converge({*delta.removes, *delta.upserts})

    def namespaces(self, delta: ObjectDelta[Namespace]) -> Exported:
        turned = self._namespaces.apply(delta)
        return self._exported.converge({name for name in self._exports if name.partition("/")[0] in turned})

    def _wanted(self, name: str) -> Pair | None:
        """What is not valid is no refusal: the export's own conditions say it."""
        export, service = self._exports.get(name), self._services.get(name)
        is_global = name.partition("/")[0] in self._namespaces
        if export is None or service is None or problem(service, is_global=is_global):
            return None
        try:
            suffix, value = serviceexport.encode(share(self._scope.name, export, service))
            serviceexport.decode(suffix, value)
        except DecodeError as error:
            raise ConvertError(error.reason) from error
        return name.encode(), value
