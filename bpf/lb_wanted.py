"""What the service maps should say of a frontend, packed. Pure.

Where backends have weights, each cluster's backends are a list of their own (a group), and the service's
list names groups, each as often as its share. What clients outside get, where that differs, is a list
under the same address and port in `lb_map.SCOPE_OUTSIDE`. It has no groups, as their scopes are those of the
first list: there a backend's weight is how many slots it has.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypeVar

from bpf import lb_map

MAX_SHARE = 128  # slots that one cluster may take in a list of groups
MAX_COPIES = 0xFFFF  # slots that one backend may take in a list without
PACKED = 131_072  # backends whose packed form is kept: two full maps


class PlaceLike(Protocol):
    @property
    def ip(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def protocol(self) -> str: ...


class FrontendLike(PlaceLike, Protocol):
    @property
    def outside(self) -> bool: ...


class BackendLike(PlaceLike, Protocol):
    @property
    def cluster_id(self) -> int: ...
    @property
    def weight(self) -> int: ...
    def __hash__(self) -> int: ...


_cluster_id = attrgetter("cluster_id")
F = TypeVar("F", bound=FrontendLike)


class Master(NamedTuple):
    """What a frontend's master entry says beside its backends. `sticky`: seconds that a client keeps its
    backend, 0 without session affinity. `flags`: of its kind (lb_map.FLAG_*). `ranges`: networks whose
    clients a frontend with FLAG_SOURCE_RANGES is for."""

    sticky: int = 0
    flags: int = 0
    ranges: tuple[str, ...] = ()


PLAIN = Master()
ALL_PLAIN: Mapping[Any, Master] = {}


class Group(NamedTuple):
    cluster: int
    share: int
    values: list[bytes]


class Wanted(NamedTuple):
    """Either packed backends, or groups of them."""

    values: list[bytes]
    groups: list[Group]
    master: Master


def key_of(frontend: FrontendLike) -> bytes:
    """Of the frontend's master entry."""
    scope = lb_map.SCOPE_OUTSIDE if frontend.outside else lb_map.SCOPE_EXTERNAL
    return lb_map.pack_service(frontend.ip, frontend.port, frontend.protocol, scope=scope)


def wanted(frontend: F, backends: Sequence[BackendLike], masters: Mapping[F, Master]) -> Wanted:
    if frontend.outside:
        return Wanted(_repeated(backends), [], masters.get(frontend, PLAIN))
    groups = _groups(backends)
    values = [] if groups else _values(backends)
    return Wanted(values, groups, masters.get(frontend, PLAIN))


def _groups(backends: Sequence[BackendLike]) -> list[Group]:
    """Either all backends have a weight, or none."""
    if not backends or not backends[0].weight:
        return []
    members: dict[int, list[BackendLike]] = {}
    for cluster, run in groupby(backends, _cluster_id):
        members.setdefault(cluster, []).extend(run)
    if len(members) > len(lb_map.GROUP_SCOPES) // 2:  # room for as many that are on their way out
        return []
    return [
        Group(cluster, min(max(1, found[0].weight), MAX_SHARE), _values(found))
        for cluster, found in members.items()
    ]


def _values(backends: Sequence[BackendLike]) -> list[bytes]:
    """Packed, each once: a backend given twice gets no double share."""
    return list(dict.fromkeys(map(_packed.__getitem__, backends)))


def _repeated(backends: Sequence[BackendLike]) -> list[bytes]:
    """Packed, each as often as it weighs; a backend given twice counts as it is told last."""
    times = {_packed[backend]: copies(backend) for backend in backends}
    return [value for value, number in times.items() for _ in range(number)]


def copies(backend: BackendLike) -> int:
    """Slots of a backend in a list without groups."""
    return min(max(1, backend.weight), MAX_COPIES)


class _Packed(dict[BackendLike, bytes]):
    """Packed forms by backend. Looking up ten thousand takes 0.28 ms; `lru_cache` needs 0.46."""

    def __missing__(self, backend: BackendLike) -> bytes:
        if len(self) >= PACKED:
            self.clear()
        packed = self[backend] = lb_map.pack_backend(
            backend.ip, backend.port, backend.protocol, backend.cluster_id
        )
        return packed


_packed = _Packed()
