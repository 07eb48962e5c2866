"""What this cluster's API server and the other clusters have told so far."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from clustermesh_operator.remote import RemoteExports
from clustermesh_operator.snapshot import Settings, Snapshot
from k8s.core import Namespace, Service
from k8s.discovery import EndpointSlice
from k8s.multicluster import ServiceExport, ServiceImport
from k8s.objects import KubeObject
from k8s.resource import ENDPOINTSLICE, NAMESPACE, SERVICE, SERVICEEXPORT, SERVICEIMPORT, Resource
from k8s.watch import ObjectDelta

FOLLOWED: dict[Resource, type[KubeObject]] = {
    NAMESPACE: Namespace,
    SERVICE: Service,
    ENDPOINTSLICE: EndpointSlice,
    SERVICEEXPORT: ServiceExport,
    SERVICEIMPORT: ServiceImport,
}


class World:
    """`changed` is set whenever there may be something new to decide on."""

    def __init__(self, settings: Settings, is_read: Callable[[], bool]) -> None:
        """`is_read`: whether it is known which other clusters there are."""
        self.changed = asyncio.Event()
        self.remotes: dict[str, RemoteExports] = {}
        self._settings = settings
        self._is_read = is_read
        self._objects: dict[Resource, dict[str, Any]] = {resource: {} for resource in FOLLOWED}
        self._unlisted = set(FOLLOWED)

    @property
    def is_listed(self) -> bool:
        return not self._unlisted and self._is_read()

    def apply(self, resource: Resource, delta: ObjectDelta[Any]) -> None:
        objects = self._objects[resource]
        for key in delta.removes:
            objects.pop(key, None)
        objects.update(delta.upserts)
        if delta.synced:
            self._unlisted.discard(resource)
        self.changed.set()

    def snapshot(self) -> Snapshot | None:
        """None until all that is here was listed: what is not known yet is not absent. Not a copy: valid
        until the next await."""
        if not self.is_listed:
            return None
        return Snapshot(
            self._settings,
            namespaces=self._objects[NAMESPACE],
            services=self._objects[SERVICE],
            slices=self._objects[ENDPOINTSLICE],
            exports=self._objects[SERVICEEXPORT],
            imports=self._objects[SERVICEIMPORT],
            remotes={name: remote.value for name, remote in self.remotes.items()},
        )

    def version(self, resource: Resource, key: str) -> str:
        """The resourceVersion that was seen last; empty when there is none."""
        found: KubeObject | None = self._objects[resource].get(key)
        return found.metadata.resourceVersion if found else ""

    def addresses(self, key: str) -> tuple[str, ...]:
        """Where a Service of this cluster is reached: its ready endpoints first."""
        service: Service | None = self._objects[SERVICE].get(key)
        slices: list[EndpointSlice] = list(self._objects[ENDPOINTSLICE].values())
        ready = [
            address
            for item in slices
            if f"{item.metadata.namespace}/{item.service_name}" == key
            for endpoint in item.endpoints
            if endpoint.conditions.ready is not False
            for address in endpoint.addresses
        ]
        cluster_ips = [ip for ip in service.spec.clusterIPs if ip != "None"] if service else []
        return tuple(dict.fromkeys([*ready, *cluster_ips]))
