"""Backends of one service from many clusters -> what each of our frontends uses (spec 5.1, 5.2).

Pure and total. Frontends come only from the local Service: a remote frontend is never used. The result is
in one order for one set of inputs, whatever the order in which peers spoke.

One rule decides: clusters stand in tiers, tiers are taken in order until one has enough active backends.
Only when no tier has an active backend do those count that are ending, and then those that a health probe
found unreachable: a service never loses its last backends to somebody's doubt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from mesh.ip import family
from mesh.localservice import Frontend, LocalService
from mesh.matching import Backend, Matcher, Source
from mesh.offer import OURS, Offer, doubts, members, without_doubles, zones
from mesh.preference import Preference, read
from mesh.service import GlobalService
from mesh.share import spread, weighted
from mesh.tier import take, tiers
from mesh.topology import in_zone


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
    """Every frontend of `local` with the backends that new connections go to.

    `near` are our own endpoints, and whether they are active: of two sources that are, the earlier counts.
    `remotes` may be any services: those of another name, or not shared, take no part. `own` and `zone` are
    the names of our cluster and of our node's zone, `withdrawn` addresses of remote backends that do not
    answer.
    `matcher` remembers what it found for this service.
    """
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
                found = choose(wish, offers, own=own, zone=near_zone, withdrawn=withdrawn)
                chosen[at] = spread(found) if local.outside else found
            result[Frontend(ip, port.port, port.protocol, local.outside)] = chosen[at]
    matcher.forget_unused()
    return result


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
    kept = without_doubles(offers)
    order = tiers(wish, {offer.cluster for offer in kept}, own)
    for is_candidate in doubts(withdrawn):
        found = members(kept, is_candidate)
        taken = take(order, found)
        if taken:
            serving: Mapping[str, Sequence[Backend]] = {name: found[name] for name in taken}
            return weighted(wish, in_zone(zone, serving, zones(kept)) if zone else serving, own)
    return ()
