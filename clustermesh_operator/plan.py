"""What should be written, from what is known (spec 5.6). Pure.

Each step builds on what the one before has made and the API server has completed: a ServiceImport first, then
the derived Service that it owns, then that Service's slices and the import's addresses. What rests on the
word of a cluster that has not been heard yet stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from clustermesh_operator import condition, derived, sync
from clustermesh_operator.condition import Pending
from clustermesh_operator.known import Known, known
from clustermesh_operator.snapshot import Snapshot
from k8s.core import Service
from k8s.discovery import EndpointSlice
from k8s.multicluster import ServiceImport
from k8s.objects import Condition, KubeObject
from k8s.resource import ENDPOINTSLICE, SERVICE, SERVICEEXPORT, SERVICEIMPORT, Resource
from k8s.share import share
from mesh import serviceexport
from mesh.endpointslice import MESH_CONTROLLER
from mesh.errors import DecodeError
from mesh.mcs import DERIVED_SERVICE, SOURCE_CLUSTER, Merged, merge

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ref:
    """One object of a kind, by namespace/name."""

    resource: Resource
    key: str

    @property
    def namespace(self) -> str:
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        return self.key.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Plan:
    """`objects` are to hold at least this much. `slices` and `statuses` are given where they differ."""

    objects: dict[Ref, Body] = field(default_factory=dict)
    slices: dict[Ref, Body] = field(default_factory=dict)
    statuses: dict[Ref, Body] = field(default_factory=dict)
    deletes: list[Ref] = field(default_factory=list)


def plan(snapshot: Snapshot, now: str) -> Plan:
    """`now`: as Kubernetes writes times."""
    planner = _Planner(snapshot, now)
    remote = {key for each in snapshot.remotes.values() for key in each.exports}
    for key in sorted(snapshot.exports.keys() | snapshot.imports.keys() | remote):
        if planner.is_alive(key):
            planner.decide(known(snapshot, key))
    if snapshot.settings.endpoint_sync:
        planner.sync()
    planner.clean_up()
    return planner.plan


class _Planner:
    """`_kept`: objects of ours that are to be there."""

    def __init__(self, snapshot: Snapshot, now: str) -> None:
        self.plan = Plan()
        self._snapshot = snapshot
        self._now = now
        self._kept: set[Ref] = set()
        self._slices = _by_service(snapshot.slices)

    def is_alive(self, key: str) -> bool:
        """Whether the namespace is here to stay: in one that is being deleted nothing can be made."""
        namespace = self._snapshot.namespaces.get(key.partition("/")[0])
        return namespace is not None and not namespace.metadata.deletionTimestamp

    def decide(self, known: Known) -> None:
        merged = merge(self._shares(known))
        if known.current and self._snapshot.is_held(known.current, is_exported=merged is not None):
            self._keep(known)
            self._mirror(known)
            self._tell_export(known, None, is_imported=True)
            return
        is_counted = merged is not None and self._snapshot.settings.cluster in merged.clusters
        if merged is not None:
            self._import(known, merged)
            if is_counted:
                self._mirror(known)
        self._tell_export(known, merged, is_imported=is_counted and known.current is not None)

    def sync(self) -> None:
        """Other clusters' backends; those of one that is not known yet stay."""
        known = self._snapshot
        for key, service in known.services.items():
            if self.is_alive(key) and sync.is_synced(service) and self._takes_part(key):
                for remote in known.remotes.values():
                    if key in remote.services:
                        for body in sync.slices(service, remote.services[key]):
                            self._slice(body)
        for key, item in known.slices.items():
            source = known.remotes.get(item.metadata.labels.get(SOURCE_CLUSTER, ""))
            if item.managed_by == MESH_CONTROLLER and source is not None and not source.is_listed:
                self._kept.add(Ref(ENDPOINTSLICE, key))

    def _takes_part(self, key: str) -> bool:
        return self._snapshot.is_global(self._snapshot.namespaces[key.partition("/")[0]])

    def clean_up(self) -> None:
        """What we made once and nobody wants now. Mesh slices are only ours where we make them."""
        known = self._snapshot
        controllers = {derived.MIRROR} | ({MESH_CONTROLLER} if known.settings.endpoint_sync else set())
        ours = [
            *(
                Ref(ENDPOINTSLICE, key)
                for key, item in known.slices.items()
                if item.managed_by in controllers
            ),
            *(Ref(SERVICE, key) for key, item in known.services.items() if derived.is_derived(item)),
            *(
                Ref(SERVICEIMPORT, key)
                for key, item in known.imports.items()
                if DERIVED_SERVICE in item.metadata.annotations
            ),
        ]
        self.plan.deletes.extend(ref for ref in ours if ref not in self._kept and self.is_alive(ref.key))

    def _keep(self, known: Known) -> None:
        self._kept |= {Ref(SERVICEIMPORT, known.key), Ref(SERVICE, known.derived_key)}

    def _shares(self, known: Known) -> list[serviceexport.ServiceExport]:
        """Everybody's, ours as the others read it."""
        shares = [
            remote.exports[known.key]
            for remote in self._snapshot.remotes.values()
            if known.key in remote.exports
        ]
        if known.export and known.exported:
            own = share(self._snapshot.settings.cluster, known.export, known.exported)
            with suppress(DecodeError):  # the exporter says why nobody gets it
                shares.append(serviceexport.decode(*serviceexport.encode(own)))
        return shares

    def _import(self, known: Known, merged: Merged) -> None:
        wanted = self._snapshot.settings.ip_families
        families = tuple(family for family in merged.spec.ip_families if family in wanted)
        behind = known.behind if known.behind and derived.fits(known.behind, merged) else None
        pending = _pending(known, families, behind)
        self._kept.add(Ref(SERVICEIMPORT, known.key))
        ips = _addresses(behind) if behind else ()
        self.plan.objects[Ref(SERVICEIMPORT, known.key)] = derived.service_import(merged, known.current, ips)
        if known.current is None:
            return
        if pending in (None, Pending.WAITING) and not known.is_taken and (behind or not known.behind):
            ref = Ref(SERVICE, known.derived_key)
            self._kept.add(ref)
            more = {sync.SYNC: "true"} if self._snapshot.settings.endpoint_sync else {}
            self.plan.objects[ref] = derived.service(
                merged, known.current, behind, known.exported, families, annotations=more
            )
        self._tell_import(known.current, merged, pending)

    def _mirror(self, known: Known) -> None:
        """The local endpoints, once the derived Service is there to have them."""
        if not known.exported or not known.behind or Ref(SERVICE, known.derived_key) not in self._kept:
            return
        for item in self._slices.get(known.key, ()):
            body = derived.mirrored(item, known.exported, known.behind, self._snapshot.settings.cluster)
            if body is not None:
                self._slice(body)

    def _slice(self, body: Body) -> None:
        ref = Ref(ENDPOINTSLICE, f"{body['metadata']['namespace']}/{body['metadata']['name']}")
        self._kept.add(ref)
        current = self._snapshot.slices.get(ref.key)
        if current is None or not derived.is_mirror_of(current, body):
            self.plan.slices[ref] = body

    def _tell_export(self, known: Known, merged: Merged | None, *, is_imported: bool) -> None:
        """Without `merged` what was said of conflicts stays, unless there is nothing to conflict."""
        if known.export is None:
            return
        wanted = [condition.valid(known.invalid)]
        wanted.append(condition.exported(is_imported=is_imported and known.invalid is None))
        if known.invalid is None and merged is not None:
            wanted.append(condition.conflicting(merged.conflict))
        drop = condition.CONFLICT if known.invalid else ""
        conditions = self._conditions(known.export, known.export.status.conditions, wanted, drop)
        if conditions != known.export.status.conditions:
            body = {"conditions": condition.bodies(conditions)}
            self.plan.statuses[Ref(SERVICEEXPORT, known.key)] = body

    def _tell_import(self, item: ServiceImport, merged: Merged, pending: Pending | None) -> None:
        said = item.status
        conditions = self._conditions(item, said.conditions, [condition.imported(pending)])
        slices = "Present" if self._has_slices(merged) else "Absent"
        clusters = tuple(each.cluster for each in said.clusters)
        if (conditions, clusters, slices) != (said.conditions, merged.clusters, said.endpointSliceObjects):
            body = {
                "clusters": [{"cluster": name} for name in merged.clusters],
                "conditions": condition.bodies(conditions),
                "endpointSliceObjects": slices,
            }
            self.plan.statuses[Ref(SERVICEIMPORT, item.metadata.key)] = body

    def _has_slices(self, merged: Merged) -> bool:
        """Whether other clusters' backends are here as EndpointSlices."""
        said = merged.spec.annotations.get(sync.SYNC, "true")
        return self._snapshot.settings.endpoint_sync and said.lower() == "true"

    def _conditions(
        self, item: KubeObject, current: tuple[Condition, ...], wanted: Sequence[Condition], drop: str = ""
    ) -> tuple[Condition, ...]:
        generation = item.metadata.generation
        return condition.merged(current, wanted, drop=drop, generation=generation, now=self._now)


def _pending(known: Known, families: tuple[str, ...], behind: Service | None) -> Pending | None:
    if not known.is_global:
        return Pending.NAMESPACE
    if not families:
        return Pending.IP_FAMILY
    is_usable = behind is not None and behind.spec.clusterIP  # a headless one says "None"
    return None if is_usable else Pending.WAITING


def _addresses(service: Service) -> tuple[str, ...]:
    said = service.spec.clusterIPs or (service.spec.clusterIP,)
    return tuple(ip for ip in said if ip and ip != "None")


def _by_service(slices: Mapping[str, EndpointSlice]) -> Mapping[str, list[EndpointSlice]]:
    """Those that can be mirrored."""
    found: dict[str, list[EndpointSlice]] = {}
    for _, item in sorted(slices.items()):
        if derived.is_exported_slice(item):
            found.setdefault(f"{item.metadata.namespace}/{item.service_name}", []).append(item)
    return found
