"""Which backends answer for which frontend: local Services and EndpointSlices, and the peers'. Pure.

What belongs together is decided by `mesh.merge`; this file keeps the pieces and recomputes a service
when one of them changes. Backends that an earlier life of this agent left in the kernel for a peer that
has not been listed yet go through the same merge, as if that peer had told them (rule 1).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from agent import nodeports, outside
from agent.desired import Clock
from agent.frontends import Frontends
from agent.ownslices import OwnSlices, Slice
from agent.recoveredbackends import RecoveredBackends
from agent.unaddressed import Unaddressed
from agent.withdrawals import NODES, Withdrawals
from bpf.lb_wanted import PLAIN, Master
from mesh import localoptions
from mesh.addressing import ClusterID
from mesh.annotationproblems import annotation_problems
from mesh.candidates import Situation
from mesh.localoptions import Algorithm
from mesh.localservice import Frontend, LocalBackend, LocalService, frontends
from mesh.matching import Backend, Matcher
from mesh.merge import merge
from mesh.preference import is_global
from mesh.service import GlobalService


class Services:
    """Folds the pieces into wanted frontends. Everything is keyed by "namespace/name"."""

    def __init__(
        self,
        clock: Clock,
        *,
        cluster: str = "",
        node: str = "",
        node_ips: Sequence[str] = (),
        knows_zones: bool = False,
        knows_algorithms: bool = False,
        is_addressed: Callable[[str], bool] = lambda _: True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`cluster` and `node` are the names of ours; `node_ips`: where node ports are served; `knows_zones`:
        services may prefer backends for our zone; `knows_algorithms`: they may say how clients outside get
        theirs; `is_addressed` tells whether packets to a remote backend would find their node."""
        self._frontends = Frontends(clock)
        self.wanted, self.masters = self._frontends.wanted, self._frontends.masters
        self.health_ports = Clock()  # ticks when a service's changes
        self._cluster = cluster
        self._node_ips = node_ips
        self._knows_zones = knows_zones
        self._knows_algorithms = knows_algorithms
        self._labels: Mapping[str, str] | None = None  # of our node; None: not known yet
        self._zone = ""
        self._withdrawals = Withdrawals()
        self._unaddressed = Unaddressed(is_addressed, now)
        self._matchers: dict[str, list[Matcher]] = {}  # one for each place where a service is
        self._local: dict[str, LocalService] = {}
        self._slices = OwnSlices(node)
        self._remote: dict[str, dict[str, GlobalService]] = {}
        self._recovered = RecoveredBackends()
        self._held = True
        self._pending: set[str] = set()

    @property
    def local(self) -> Mapping[str, LocalService]:
        return dict(self._local)

    @property
    def here(self) -> Mapping[str, LocalService]:
        """Those that are for our node."""
        return {key: service for key, service in self._local.items() if self.is_here(service)}

    def is_here(self, service: LocalService) -> bool:
        """Whether it is for our node."""
        return self._labels is None or localoptions.is_for(service.annotations, self._labels)

    @property
    def owners(self) -> Mapping[Frontend, str]:
        return dict(self._frontends.owners)

    def frontends(self, key: str) -> frozenset[Frontend]:
        """Where one service is served."""
        return self._frontends.of(key)

    def master(self, frontend: Frontend) -> Master:
        return self.masters.entries.get(frontend, PLAIN)

    def local_backends(self, key: str) -> tuple[LocalBackend, ...]:
        """What our own EndpointSlices say of one service."""
        return self._slices.backends(key)

    def remotes(self, key: str) -> Mapping[str, GlobalService]:
        """What the peers say of one service."""
        return dict(self._remote.get(key, {}))

    @property
    def meshed(self) -> set[str]:
        """Services that are global here, and those that a peer tells."""
        return {*self._remote, *(key for key, local in self._local.items() if is_global(local.annotations))}

    @property
    def withdrawn(self) -> frozenset[str]:
        return self._withdrawals.all

    @property
    def waiting(self) -> frozenset[str]:
        """Remote backends whose addresses nobody has told yet: not used for so long."""
        return self._unaddressed.waiting

    def set_withdrawn(self, addresses: frozenset[str], by: str = NODES) -> None:
        """All remote backends that `by` doubts, as their peers write them: unused while others answer."""
        self._changed_remotes(self._withdrawals.doubt(addresses, by))

    def set_zone(self, zone: str) -> None:
        """Our node is in this zone; empty: in none that is known."""
        if not self._knows_zones or zone == self._zone:
            return
        self._zone = zone
        for key, service in self._local.items():
            if service.zonal:
                self._changed(key)

    def set_labels(self, labels: Mapping[str, str]) -> None:
        """Of our node: a service may be for some nodes only."""
        if labels == self._labels:
            return
        self._labels = dict(labels)
        self.health_ports.tick()
        for key, service in self._local.items():
            if localoptions.hangs_on_node(service.annotations):
                self._changed(key)

    def set_addressed(self, addresses: Iterable[str]) -> None:
        """Packets to these would find their node now."""
        self._changed_remotes(self._unaddressed.addressed(addresses))

    def give_up_waiting(self) -> None:
        """Use backends whose addresses did not come in time: they may be outside of the mesh."""
        self._changed_remotes(self._unaddressed.given_up())

    def usable(self) -> Iterator[tuple[str, str, GlobalService]]:
        """What peers say of services that are global here: key, peer, and its word."""
        for key, services in self._remote.items():
            local = self._local.get(key)
            if local is not None and is_global(local.annotations):
                for peer, service in services.items():
                    yield key, peer, service

    def remote_backends(self) -> set[str]:
        """Addresses of remote backends that a service of ours may use."""
        return {ip for _, _, service in self.usable() for ip in service.backends} | self._recovered.addresses

    def problems(self) -> dict[str, tuple[str, ...]]:
        """Services with an annotation that says nothing we can read, or an address that is another's."""
        found = {key: annotation_problems(local.annotations) for key, local in self._local.items()}
        for key, claimed in self._frontends.conflicts().items():
            found[key] = (*found.get(key, ()), *(self._frontends.text(each) for each in claimed))
        return {key: problems for key, problems in found.items() if problems}

    def start(self) -> None:
        """Services and slices are listed: from now on changes are computed at once.

        Before that a service without slices would lose the backends that the kernel has.
        """
        self._held = False
        for key in sorted(self._pending):
            self._recompute(key)
        self._pending.clear()

    def set_local(self, key: str, service: LocalService | None) -> None:
        before = self._local.get(key)
        if (before.health_port if before else 0) != (service.health_port if service else 0):
            self.health_ports.tick()
        if service is None:
            self._local.pop(key, None)
        else:
            algorithm = service.algorithm if self._knows_algorithms else Algorithm.DEFAULT
            self._local[key] = replace(service, algorithm=algorithm)
        self._changed(key)

    def set_slice(self, key: str, piece: Slice | None) -> None:
        for service in self._slices.put(key, piece):
            self._changed(service)

    def set_remote(self, peer: str, key: str, service: GlobalService | None) -> None:
        services = self._remote.setdefault(key, {})
        before = services.pop(peer, None)
        if service is not None:
            services[peer] = service
            self._unaddressed.told(service.backends.keys() - (before.backends if before else {}).keys())
        if not services:
            del self._remote[key]
        self._changed(key)

    def set_recovered(self, found: Mapping[ClusterID, Mapping[Frontend, tuple[Backend, ...]]]) -> None:
        """Backends of clusters other than ours that the kernel had when we started."""
        self._changed_frontends(self._recovered.replace(found))

    def recovered_clusters(self) -> frozenset[ClusterID]:
        return self._recovered.clusters

    def forget_recovered(self, cluster: ClusterID) -> None:
        """The owner has spoken, or is not configured any more."""
        self._changed_frontends(self._recovered.forget(cluster))

    def _changed_remotes(self, addresses: frozenset[str]) -> None:
        if not addresses:
            return
        for key, services in self._remote.items():
            if any(not addresses.isdisjoint(service.backends) for service in services.values()):
                self._changed(key)
        self._changed_frontends(self._recovered.served_by(addresses))

    def _changed_frontends(self, touched: set[Frontend]) -> None:
        for key, service in self._local.items():
            if any(not touched.isdisjoint(frontends(place)) for place in self._places(service)):
                self._changed(key)

    def _changed(self, key: str) -> None:
        if self._held:
            self._pending.add(key)
        else:
            self._recompute(key)

    def _recompute(self, key: str) -> None:
        service = self._local.get(key)
        new: dict[Frontend, tuple[Backend, ...]] = {}
        masters: dict[Frontend, Master] = {}
        places = self._places(service) if service is not None else []
        at_nodes = range(1 + len(outside.places(places[0])) if places else 0, len(places))
        matchers = self._matchers.setdefault(key, [])
        matchers[:] = [*matchers, *(Matcher() for _ in places[len(matchers) :])][: len(places)]
        for number, place in enumerate(places):
            found = self._merged(key, place, matchers[number])
            for frontend in found.keys() - new.keys():  # a service's own address on a node counts first
                masters[frontend] = self._master(frontend, places[0], is_node_port=number in at_nodes)
            new = {**found, **new}
        if not places:
            del self._matchers[key]
        said_ips = outside.addresses(service) if service is not None else ()
        self._frontends.replace(key, new, masters, said_ips)

    def _places(self, service: LocalService) -> list[LocalService]:
        """The service itself, as clients outside see it if that differs, and as it is at its node ports.

        None where it is for other nodes.
        """
        if not self.is_here(service):
            return []
        at_nodes = nodeports.places(service, self._node_ips) if self._node_ips else []
        return [service, *outside.places(service), *at_nodes]

    def _merged(
        self, key: str, service: LocalService, matcher: Matcher
    ) -> Mapping[Frontend, tuple[Backend, ...]]:
        return merge(
            service,
            self._slices.sources(key, service),
            self._remotes(key, service),
            matcher,
            own=self._cluster,
            zone=self._zone,
            withdrawn=self.withdrawn | self._unaddressed.waiting,
        )

    def _master(self, frontend: Frontend, service: LocalService, *, is_node_port: bool) -> Master:
        if is_node_port:
            return Master(service.sticky, nodeports.flags(service, frontend))
        flags = outside.flags(service, frontend, self._node_ips)
        return Master(service.sticky, flags, outside.ranges(service, frontend))

    def situation(self, frontend: Frontend, withdrawn: Mapping[str, str]) -> Situation:
        """What was known when the frontend's backends were chosen; nothing of it changes afterwards.
        `withdrawn`: reasons, by address."""
        key = self._frontends.owners.get(frontend, "")
        service = self._local.get(key)
        if service is None:
            return Situation((), ())
        reasons = {ip: withdrawn.get(ip) or self._withdrawals.reason(ip) for ip in self.withdrawn}
        service = next((p for p in self._places(service) if frontend in frontends(p)), service)
        remotes = self._remotes(key, service)
        near = self._slices.sources(key, service)
        waiting = self._unaddressed.waiting
        return Situation(near, remotes, self._cluster, reasons, waiting, service.node_only)

    def _remotes(self, key: str, service: LocalService) -> list[GlobalService]:
        return [*self._remote.get(key, {}).values(), *self._recovered.told(service)]
