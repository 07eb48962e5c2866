"""The groups of one family's services: which scope each cluster's list has. Pure.

Where backends have weights, a service's slots name groups. A cluster's group keeps its scope while others
come and go; the scopes are recovered from the map.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from bpf import lb_map
from bpf.lb_backends import Backends
from bpf.lb_lists import Lists
from bpf.lb_steps import Writes

GROUPED = 128  # services with weights whose groups' keys are kept: 2 MB; making them takes 0.4 ms


class Groups:
    """Of the services in `lists`."""

    def __init__(self, lists: Lists, backends: Backends) -> None:
        self._lists = lists
        self._scopes: dict[bytes, dict[int, int]] = {}  # service -> cluster -> scope
        for key, held in lists.groups():
            members = backends.values(held.slots)
            cluster = lb_map.unpack_backend(members[0]).cluster_id if members else -1
            self._scopes.setdefault(_top(key), {}).setdefault(cluster, lb_map.scope_of(key))

    def scopes(self, key: bytes, clusters: Iterable[int]) -> dict[int, int]:
        """A scope for each cluster's group: the one it has, or one that nobody uses now."""
        known = self._scopes.get(key, {})
        used = {lb_map.scope_of(group) for group in self._standing(key)}
        free = (scope for scope in lb_map.GROUP_SCOPES if scope not in used)
        return {cluster: known[cluster] if cluster in known else next(free) for cluster in clusters}

    def replace(self, key: bytes, scopes: Mapping[int, int], writes: Writes) -> None:
        """The service's groups are these from now on: others go."""
        kept = set(scopes.values())
        for group in self._standing(key):
            if lb_map.scope_of(group) not in kept:
                self._lists.remove(group, writes)
        self._scopes.pop(key, None)
        if scopes:
            self._scopes[key] = dict(scopes)

    def prune(self, writes: Writes) -> None:
        """Remove groups that no service has."""
        for key in [key for key, _ in self._lists.groups()]:
            top = _top(key)
            if lb_map.scope_of(key) not in self._scopes.get(top, {}).values() or top not in self._lists.held:
                self._lists.remove(key, writes)

    def _standing(self, key: bytes) -> list[bytes]:
        held = self._lists.held
        return [each for each in _possible(key) if each in held] if key in self._scopes else []


def _top(group: bytes) -> bytes:
    """The key of the service that the group is of."""
    return lb_map.with_scope(group, lb_map.SCOPE_EXTERNAL)


@lru_cache(maxsize=GROUPED)
def _possible(key: bytes) -> tuple[bytes, ...]:
    return tuple(lb_map.with_scope(key, scope) for scope in lb_map.GROUP_SCOPES)
