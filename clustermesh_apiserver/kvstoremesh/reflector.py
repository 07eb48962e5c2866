"""One kind of one peer's entries, as they should stand in our etcd. Pure: no I/O, no clock.

Values are bytes and stay the bytes they were: nothing is decoded, nothing normalised (spec 9.3). What is held
outlives the store: when our etcd is replaced, `attach` hands all of it to the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from kvstore.digest import Digest
from kvstore.watch import Delta
from mesh.keys import Kind, cache_prefix, synced_key


class Store(Protocol):
    """What a reflector asks of a `kvstore.syncstore.SyncStore`."""

    def upsert(self, suffix: bytes, value: bytes) -> None: ...
    def remove(self, suffix: bytes) -> None: ...
    def mark_listed(self) -> None: ...


class Reflector:
    """`is_listed`: what is held is, or once was, all that the peer had."""

    def __init__(self, kind: Kind, cluster: str) -> None:
        self.kind = kind
        self.prefix = cache_prefix(kind, cluster)
        self.canary = synced_key(kind, cluster, cached=True)
        self.is_listed = False
        self._held: dict[bytes, bytes] = {}
        self._digest = Digest()
        self._store: Store | None = None

    @property
    def held(self) -> Mapping[bytes, bytes]:
        return MappingProxyType(self._held)

    @property
    def digest(self) -> str:
        return str(self._digest)

    def attach(self, store: Store | None) -> None:
        """From now on `store` takes what is held, beginning with all of it; None: nobody does."""
        self._store = store
        if store is None:
            return
        for key, value in self._held.items():
            store.upsert(key, value)
        if self.is_listed:
            store.mark_listed()

    def apply(self, delta: Delta) -> None:
        for key, value in delta.upserts:
            old = self._held.get(key)
            if old is not None:
                self._digest.toggle(key, old)
            self._digest.toggle(key, value)
            self._held[key] = value
            if self._store is not None:
                self._store.upsert(key, value)
        for key in delta.removes:
            self._remove(key)

    def listed(self) -> None:
        """All that the peer has was applied: what else stands in our etcd may go, the canary is due."""
        self.is_listed = True
        if self._store is not None:
            self._store.mark_listed()

    def revoke(self) -> None:
        """The peer's word does not count any more; that it was complete stays so."""
        for key in list(self._held):
            self._remove(key)

    def drain(self) -> None:
        """Forget the peer."""
        self.revoke()
        self.is_listed = False

    def _remove(self, key: bytes) -> None:
        old = self._held.pop(key, None)
        if old is None:
            return
        self._digest.toggle(key, old)
        if self._store is not None:
            self._store.remove(key)
