"""Which ports the pods behind an identity give a name to: for egress policies that say one. Pure.

Told by our own cluster's CiliumEndpoints and by peers' IP entries, pod by pod; pods of one identity may
differ. Pods without named ports, which are the bulk, cost nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType

from mesh.addressing import Identity
from mesh.namedports import NamedPorts, merged


class PeerPorts:
    """Claims by owner, and what they say together."""

    def __init__(self) -> None:
        self._claims: dict[Hashable, tuple[Identity, NamedPorts]] = {}
        self._owners: dict[Identity, set[Hashable]] = {}
        self._all: dict[Identity, NamedPorts] = {}
        self._listeners: list[Callable[[frozenset[Identity]], None]] = []

    @property
    def all(self) -> Mapping[Identity, NamedPorts]:
        return MappingProxyType(self._all)

    def listen(self, listener: Callable[[frozenset[Identity]], None]) -> None:
        """Have `listener` called with the identities whose ports changed, after every change."""
        self._listeners.append(listener)

    def claim(self, owner: Hashable, identity: int, ports: NamedPorts) -> None:
        """`ports` empty: the owner says nothing (any more)."""
        new = (Identity(identity), ports) if ports else None
        old = self._claims.pop(owner, None)
        if new is not None:
            self._claims[owner] = new
        if new != old:
            touched = {claim[0] for claim in (old, new) if claim is not None}
            self._rebuild(owner, old, new)
            self._tell(touched)

    def _rebuild(
        self,
        owner: Hashable,
        old: tuple[Identity, NamedPorts] | None,
        new: tuple[Identity, NamedPorts] | None,
    ) -> None:
        if old is not None:
            self._owners[old[0]].discard(owner)
        if new is not None:
            self._owners.setdefault(new[0], set()).add(owner)

    def _tell(self, touched: set[Identity]) -> None:
        changed = set()
        for identity in touched:
            owners = self._owners.get(identity, set())
            now = merged(*(self._claims[owner][1] for owner in owners))
            if now != self._all.pop(identity, {}):
                changed.add(identity)
            if now:
                self._all[identity] = now
            if not owners:
                self._owners.pop(identity, None)
        if changed:
            for listener in self._listeners:
                listener(frozenset(changed))
