"""Our own EndpointSlices, and what each service has of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mesh.localservice import LocalBackend, LocalService, local_sources
from mesh.matching import Source


@dataclass(frozen=True, slots=True)
class Slice:
    """One EndpointSlice: the service it belongs to ("namespace/name") and its backends."""

    service: str
    backends: tuple[LocalBackend, ...]


class OwnSlices:
    """`node`: the name of ours; a service may count its endpoints alone."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._of: dict[str, dict[str, Slice]] = {}  # service -> name -> slice
        self._owner: dict[str, str] = {}
        # slice, and whether only our node counts -> its endpoints
        self._sources: dict[tuple[str, bool], list[tuple[Source, bool]]] = {}

    def put(self, name: str, piece: Slice | None) -> set[str]:
        """The slice is this now; None: it is gone. The services that change by it."""
        for node_only in (False, True):
            self._sources.pop((name, node_only), None)
        before = self._owner.pop(name, None)
        if before is not None:
            pieces = self._of[before]
            del pieces[name]
            if not pieces:
                del self._of[before]
        if piece is None:
            return {before} if before is not None else set()
        self._of.setdefault(piece.service, {})[name] = piece
        self._owner[name] = piece.service
        return {piece.service, before or piece.service}

    def backends(self, service: str) -> tuple[LocalBackend, ...]:
        """Of all slices of a service; one address in two slices has the ports of both."""
        pieces = sorted(self._of.get(service, {}).items())
        return union(piece.backends for _, piece in pieces)

    def sources(self, key: str, service: LocalService) -> list[tuple[Source, bool]]:
        """For `merge`. Later slices first: of two that name one address the later in name order counts."""
        found: list[tuple[Source, bool]] = []
        for name, piece in sorted(self._of.get(key, {}).items(), reverse=True):
            at = (name, service.node_only)
            if at not in self._sources:
                self._sources[at] = local_sources(service, piece.backends, node=self._node, name=name)
            found += self._sources[at]
        return found


def union(slices: Iterable[Iterable[LocalBackend]]) -> tuple[LocalBackend, ...]:
    merged: dict[str, LocalBackend] = {}
    for backends in slices:
        for backend in backends:
            before = merged.get(backend.ip)
            merged[backend.ip] = backend if before is None else _both(before, backend)
    return tuple(merged[ip] for ip in sorted(merged))


def _both(one: LocalBackend, other: LocalBackend) -> LocalBackend:
    state = one.state if one.state == "active" else other.state
    return replace(other, ports={**one.ports, **other.ports}, state=state)
