"""Why a backend serves a frontend, or does not: the merge's outcome in words. Pure.

Decides nothing: who serves was decided by `mesh.merge`, and is given. For everybody else the first reason
that applies is told, in the order in which the merge leaves backends out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mesh.ip import canonical_ip, family
from mesh.localservice import Frontend, LocalService
from mesh.matching import Backend, Found, Matcher, ServicePort, Source
from mesh.offer import OURS
from mesh.preference import OTHERS, OWN, Affinity, Preference, read
from mesh.service import GlobalService

CHOSEN = "serves"


class Candidate(NamedTuple):
    """An endpoint of the service. `port` is 0 where it has none for this frontend."""

    cluster: str
    ip: str
    port: int
    protocol: str
    chosen: bool
    reason: str
    weight: int = 0


@dataclass(frozen=True)
class Situation:
    """What the merge knew. `withdrawn` and `waiting` say why, by address; the others as for it."""

    near: Sequence[tuple[Source, bool]]
    remotes: Sequence[GlobalService]
    own: str = ""
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    waiting: Collection[str] = ()
    node_only: bool | None = None  # None: as the service's own addresses


def candidates(
    local: LocalService, frontend: Frontend, chosen: Iterable[Backend], situation: Situation
) -> list[Candidate]:
    """Every endpoint that any cluster tells of the service, those that serve first."""
    wanted = frontend.port, frontend.protocol
    port = next((p for p in local.ports if wanted in ((p.port, p.protocol), (p.node_port, p.protocol))), None)
    if port is None:
        return []
    wish = read(local.annotations)
    serving = {(b.ip, b.cluster_id): b for b in chosen}
    names = _names(situation, serving.keys())
    seen: set[str] = set()
    found: list[Candidate] = []
    for cluster, source, active in _sources(local, situation):
        matched = _matched(source, port, family(frontend.ip))
        for text in source.endpoints:
            ip = canonical_ip(text) or text
            backend = matched.get(ip)
            key = (ip, source.cluster_id)
            if key in serving and backend is not None and ip not in seen:
                seen.add(ip)
                used = serving[key]
                found.append(Candidate(cluster, ip, used.port, used.protocol, True, CHOSEN, used.weight))
                continue
            reason = _unmatched(port, ip, frontend) if backend is None else ""
            reason = reason or ("its address is another cluster's too, which counts" if ip in seen else "")
            reason = reason or _reason(wish, local, _Told(cluster, ip, active), names, situation)
            found.append(Candidate(cluster, ip, backend.port if backend else 0, port.protocol, False, reason))
    return sorted(found, key=lambda each: (not each.chosen, each.cluster, each.ip))


def _sources(local: LocalService, situation: Situation) -> list[tuple[str, Source, bool]]:
    """In the order in which the merge believes them."""
    near = [
        (situation.own, source, active) for source, active in sorted(situation.near, key=lambda s: not s[1])
    ]
    far = [
        (remote.cluster, Source(f"remote/{remote.cluster}", remote.cluster_id, remote.backends), True)
        for remote in sorted(situation.remotes, key=lambda remote: remote.cluster_id)
        if (remote.namespace, remote.name) == (local.namespace, local.name)
    ]
    return near + far


def _matched(source: Source, port: ServicePort, version: int) -> Found:
    return Matcher().match(source, port, version)


def _unmatched(port: ServicePort, ip: str, frontend: Frontend) -> str:
    if family(ip) != family(frontend.ip):
        return "its address is of another family than the frontend's"
    return f"it has no {port.protocol} port named {port.name!r}"


def _names(situation: Situation, serving: Collection[tuple[str, int]]) -> set[str]:
    """The clusters that serve; ours is OURS."""
    numbers = {number for _, number in serving}
    names = {remote.cluster for remote in situation.remotes if remote.cluster_id in numbers}
    return names | ({OURS} if any(s.cluster_id in numbers for s, _ in situation.near) else set())


class _Told(NamedTuple):
    cluster: str
    ip: str
    active: bool


def _reason(wish: Preference, local: LocalService, told: _Told, names: set[str], situation: Situation) -> str:
    is_ours = told.cluster == situation.own
    name = OURS if is_ours else told.cluster
    why = situation.withdrawn.get(told.ip, "")
    reasons = (
        (is_ours and not told.active, "it is ending"),
        (not is_ours and not wish.is_global, "the Service here is not global"),
        (
            not is_ours and _is_node_only(local, situation),
            "its traffic policy is Local: only the node itself serves",
        ),
        (not is_ours and bool(why), f"withdrawn: {why}"),
        (not is_ours and told.ip in situation.waiting, "waits until the peer has told its address, and node"),
        (name not in names, _left_out(wish, name, told.cluster)),
    )
    last = "the zone hints of the service's endpoints keep it for clients of other zones"
    return next((text for applies, text in reasons if applies), last)


def _is_node_only(local: LocalService, situation: Situation) -> bool:
    return local.node_only if situation.node_only is None else situation.node_only


def _left_out(wish: Preference, name: str, cluster: str) -> str:
    """Why a whole cluster is not asked."""
    aliases = {OWN, cluster} if name == OURS else {name}
    weights = wish.weights or {}
    given = next((weights[alias] for alias in aliases if alias in weights), weights.get(OTHERS, 0))
    if weights and not given:
        return "its cluster has weight 0"
    if wish.order is not None:
        return f"clusters before it in the preference {','.join(wish.order)} serve"
    if wish.affinity is Affinity.LOCAL:
        return f"affinity local: {wish.minimum} active local backends are enough, and there are so many"
    if wish.affinity is Affinity.REMOTE:
        return "affinity remote: other clusters serve"
    return "others are preferred"
