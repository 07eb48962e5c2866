"""Backends of one service from many clusters -> what each of our frontends uses (spec 5.1, 5.2).

Pure and total. Frontends come only from the local Service: a remote frontend is never used. The result is
in one order for one set of inputs, whatever the order in which peers spoke.

One rule decides: clusters stand in tiers, tiers are taken in order until one has enough active backends.
Only when no tier has an active backend do those count that are ending, and then those that a health probe
found unreachable: a service never loses its last backends to somebody's doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import gcd
from operator import itemgetter
from typing import Literal, NamedTuple

from mesh.addressing import UNSET_CLUSTER
from mesh.ip import family
from mesh.matching import Backend, Found, Matcher, ServicePort, Source
from mesh.preference import (
    OTHERS,
    OWN,
    Affinity,
    Preference,
    affinity,
    is_global,
    is_shared,
    read,
)
from mesh.service import GlobalService, Port, Zone
from mesh.topology import in_zone

__all__ = [
    "Affinity",
    "Backend",
    "Frontend",
    "LocalBackend",
    "LocalService",
    "ServicePort",
    "affinity",
    "backends_for",
    "is_global",
    "is_shared",
]

LOCAL_CLUSTER = UNSET_CLUSTER  # the cluster id of our own backends
MAX_SHARES = 128  # slots that a weighted frontend's list may take; shares are rounded to fit
OURS = "@"  # stands for our cluster among names: no cluster can be called so
REMEMBERED = 65_536  # backends of one weight, as many as the map has; ten thousand are not made anew for one
WEIGHTS = 8  # in use at once, more or less: two clusters' shares of a few services
UNNAMED = ""  # a cluster whose name we do not know yet: what a restart found in the kernel

_by_place = itemgetter(3, 0, 1)  # cluster id, address, port


class Frontend(NamedTuple):
    """`outside`: for clients outside, where others get something else at the same address."""

    ip: str
    port: int
    protocol: str
    outside: bool = False


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """One of our own endpoints; it says `terminating` when it still serves but wants no new connections."""

    ip: str
    ports: Mapping[str, Port]
    state: Literal["active", "terminating"] = "active"
    node: str = ""
    zone: Zone | None = None


@dataclass(frozen=True, slots=True)
class LocalService:
    """What Kubernetes says of the service here. `node_only`: clients of a node use its own backends only;
    `zonal`: those that are for their zone. `sticky`: session affinity by client, for so many seconds after
    its last connection; 0: none. It is a local property (spec 5.2): other clusters' Services do not count.
    `outside_node_only`: as `node_only`, for clients from outside of the cluster. `balancer_ips` and
    `external_ips` are those of `cluster_ips` where such clients meet the service; at the former only those of
    `source_ranges` (networks; empty: all) may. `outside`: it is as those clients see it. `health_port`: where
    nodes tell load balancers whether they have endpoints; 0: nowhere."""

    namespace: str
    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    backends: tuple[LocalBackend, ...] = ()
    node_only: bool = False
    zonal: bool = False
    sticky: int = 0
    outside_node_only: bool = False
    balancer_ips: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    outside: bool = False
    health_port: int = 0


class Offer(NamedTuple):
    """Matching backends of one source; of one address told twice the earlier offer counts."""

    cluster: str
    found: Found
    is_active: bool = True
    zones: Mapping[str, Zone] = {}


Tiers = Sequence[tuple[Collection[str], int]]  # clusters, and how many active backends are enough


def backends_for(
    local: LocalService,
    remotes: Iterable[GlobalService],
    *,
    own: str = "",
    node: str = "",
    zone: str = "",
    withdrawn: Collection[str] = frozenset(),
) -> Mapping[Frontend, tuple[Backend, ...]]:
    """Every frontend of `local` with the backends that new connections go to.

    `remotes` may be any services: those of another name, or not shared, take no part. `own`, `node` and
    `zone` are the names of our cluster, node and its zone, `withdrawn` addresses of remote backends that do
    not answer.
    """
    return merge(
        local,
        local_sources(local, local.backends, node=node),
        remotes,
        Matcher(),
        own=own,
        zone=zone,
        withdrawn=withdrawn,
    )


def merge(
    local: LocalService,
    near: Iterable[tuple[Source, bool]],
    remotes: Iterable[GlobalService],
    matcher: Matcher,
    *,
    own: str,
    zone: str = "",
    withdrawn: Collection[str] = frozenset(),
) -> Mapping[Frontend, tuple[Backend, ...]]:
    """As `backends_for`, with a memory. `near` are our own endpoints, and whether they are active: of two
    sources that are, the earlier counts."""
    wish = read(local.annotations)
    wanted = (local.namespace, local.name)
    far = [remote for remote in remotes if remote.shared and (remote.namespace, remote.name) == wanted]
    if not wish.is_global or local.node_only:
        far = []
    far.sort(key=lambda remote: remote.cluster_id)
    ours = sorted(near, key=lambda item: not item[1])  # what is active first; else in the order given
    near_zone = zone if local.zonal else ""
    chosen: dict[tuple[str, str, int], tuple[Backend, ...]] = {}
    result: dict[Frontend, tuple[Backend, ...]] = {}
    for ip in local.cluster_ips:
        for port in local.ports:
            at = (port.name, port.protocol, family(ip))
            if at not in chosen:
                offers = [
                    Offer(OURS, matcher.match(source, port, at[2]), active, source.zones)
                    for source, active in ours
                ]
                offers += [
                    Offer(remote.cluster, matcher.match(_source(remote), port, at[2]), zones=remote.zones)
                    for remote in far
                ]
                chosen[at] = choose(wish, offers, own=own, zone=near_zone, withdrawn=withdrawn)
            result[Frontend(ip, port.port, port.protocol, local.outside)] = chosen[at]
    matcher.forget_unused()
    return result


def local_sources(
    local: LocalService, backends: Iterable[LocalBackend], *, node: str = "", name: str = ""
) -> list[tuple[Source, bool]]:
    """Our own endpoints by whether they are active."""
    endpoints: dict[bool, dict[str, Mapping[str, Port]]] = {}
    zones: dict[str, Zone] = {}
    for backend in backends:
        if not local.node_only or backend.node == node:
            endpoints.setdefault(backend.state == "active", {})[backend.ip] = backend.ports
            if backend.zone is not None:
                zones[backend.ip] = backend.zone
    return [
        (Source(f"{OURS}/{name}/{is_active}", LOCAL_CLUSTER, found, zones), is_active)
        for is_active, found in endpoints.items()
    ]


def _source(remote: GlobalService) -> Source:
    return Source(f"remote/{remote.cluster}/{remote.cluster_id}", remote.cluster_id, remote.backends)


def choose(
    wish: Preference,
    offers: Sequence[Offer],
    *,
    own: str = "",
    zone: str = "",
    withdrawn: Collection[str] = frozenset(),
) -> tuple[Backend, ...]:
    """The backends that new connections go to, with their clusters' shares where there are weights. `zone`:
    clients are there, and what is for other zones is left out where it can be."""
    kept = _without_doubles(offers)
    tiers = _tiers(wish, {offer.cluster for offer in kept}, own)
    for is_candidate in _doubts(withdrawn):
        members = _members(kept, is_candidate)
        taken = _take(tiers, members)
        if taken:
            serving: Mapping[str, Sequence[Backend]] = {name: members[name] for name in taken}
            return _weighted(wish, in_zone(zone, serving, _zones(kept)) if zone else serving, own)
    return ()


def _without_doubles(offers: Sequence[Offer]) -> list[Offer]:
    """One backend an address: our own word on it counts first, then that of the lowest cluster id."""
    first: dict[str, Backend] = {}
    for offer in reversed(offers):
        first.update(offer.found)
    if len(first) == sum(len(offer.found) for offer in offers):
        return [offer for offer in offers if offer.found]
    taken: set[str] = set()
    kept = []
    for offer in offers:
        found = {ip: backend for ip, backend in offer.found.items() if ip not in taken}
        taken.update(found)
        if found:
            kept.append(offer._replace(found=found))
    return kept


_Candidates = Callable[[Offer], Iterable[Backend]]


def _doubts(withdrawn: Collection[str]) -> list[_Candidates]:
    """Whom to ask, from the best to the last resort."""

    def answering(offer: Offer) -> Iterable[Backend]:
        if not withdrawn or offer.cluster == OURS:
            return offer.found.values()
        return [backend for ip, backend in offer.found.items() if ip not in withdrawn]

    return [
        lambda offer: answering(offer) if offer.is_active else (),
        answering,
        lambda offer: offer.found.values(),
    ]


def _zones(offers: Sequence[Offer]) -> dict[str, dict[str, Zone]]:
    """Of each cluster by address; of one address told twice the earlier offer counts."""
    zones: dict[str, dict[str, Zone]] = {}
    for offer in reversed(offers):
        zones.setdefault(offer.cluster, {}).update(offer.zones)
    return zones


def _members(offers: Iterable[Offer], candidates: _Candidates) -> dict[str, list[Backend]]:
    members: dict[str, list[Backend]] = {}
    for offer in offers:
        found = candidates(offer)
        if found:
            members.setdefault(offer.cluster, []).extend(found)
    return members


def _tiers(wish: Preference, clusters: Collection[str], own: str) -> Tiers:
    remotes = {name for name in clusters if name != OURS}
    enough = max(1, wish.minimum)
    if wish.order is not None:
        return _ordered(wish.order, remotes, own, enough)
    match wish.affinity:
        case Affinity.LOCAL:
            return [({OURS}, enough), (remotes, 1)]
        case Affinity.REMOTE:
            return [(remotes, 1), ({OURS}, 1)]
        case Affinity.NONE:
            return [({OURS, *remotes}, 1)]


def _ordered(order: Sequence[str], remotes: set[str], own: str, enough: int) -> Tiers:
    """Those that are not named come where `*` stands, or last.

    A cluster of unknown name stands with the first: it was in use before the restart, so it was preferred.
    """
    names = [OURS if name in (own, OWN) else name for name in order]
    rest = {OURS, *remotes} - {*names, UNNAMED}
    tiers: list[tuple[set[str], int]] = []
    for name in names if OTHERS in names else [*names, OTHERS]:
        members = set(rest) if name == OTHERS else {name}
        tiers.append((members, enough if name == OURS else 1))
    tiers[0][0].add(UNNAMED)
    return tiers


def _take(tiers: Tiers, members: Mapping[str, Sequence[Backend]]) -> list[str]:
    """The clusters that serve: tier after tier until one has enough."""
    taken: list[str] = []
    for clusters, enough in tiers:
        present = [name for name in members if name in clusters]
        taken += present
        if present and sum(len(members[name]) for name in present) >= enough:
            break
    return taken


def _weighted(wish: Preference, members: Mapping[str, Sequence[Backend]], own: str) -> tuple[Backend, ...]:
    shares = _shares(wish.weights, members, own) if wish.weights and len(members) > 1 else {}
    chosen: list[Backend] = []
    for name, backends in members.items():
        if len(shares) > 1 and name in shares:
            chosen += map(_of_weight(shares[name]).__getitem__, backends)
        elif not shares or name in shares:
            chosen += backends
    return tuple(sorted(chosen, key=_by_place))


class _OfWeight(dict[Backend, Backend]):
    """Backends with one weight, by what they are without. `lru_cache` takes 1.8 times as long."""

    def __init__(self, weight: int) -> None:
        super().__init__()
        self._weight = weight

    def __missing__(self, backend: Backend) -> Backend:
        if len(self) >= REMEMBERED:
            self.clear()
        weighted = self[backend] = backend._replace(weight=self._weight)
        return weighted


_of_weight = lru_cache(maxsize=WEIGHTS)(_OfWeight)


def _shares(weights: Mapping[str, int], clusters: Iterable[str], own: str) -> dict[str, int]:
    """Shares that have at most MAX_SHARES together, at least 1 each; nothing when nobody has a weight.

    A cluster of weight 0 only serves when no other does.
    """
    given = {OURS if name in (own, OWN) else name: weight for name, weight in weights.items()}
    others = given.get(OTHERS, 0)
    unnamed = max(given.values())  # in use before a restart, until we know whose it is
    wanted = {name: unnamed if name == UNNAMED else given.get(name, others) for name in clusters}
    wanted = {name: weight for name, weight in wanted.items() if weight}
    if not wanted:
        return {}
    divisor = gcd(*wanted.values())
    wanted = {name: weight // divisor for name, weight in wanted.items()}
    total = sum(wanted.values())
    if total <= MAX_SHARES:
        return wanted
    return {name: max(1, round(weight * MAX_SHARES / total)) for name, weight in wanted.items()}
