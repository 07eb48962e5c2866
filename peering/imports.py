"""One kind of one peer's entries: etcd's bytes in, admitted values out. Pure: no I/O, no clock.

Keeps the bytes of what was accepted, because the next connection is compared with them (rule 3). A value
that cannot be decoded or that the peer may not claim is refused: the previous value stays, and is offered
again with every reconnection. The digest lets two members compare what they hold of a peer (rule 10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, TypeVar

from kvstore.digest import Digest
from kvstore.watch import Delta
from mesh.addressing import PeerScope
from mesh.errors import DecodeError

T = TypeVar("T")


@dataclass(slots=True)
class Accepted(Generic[T]):
    """What one delta means: suffix -> value, suffixes gone, and what was refused."""

    upserts: dict[str, T] = field(default_factory=dict)
    removes: list[str] = field(default_factory=list)
    refusals: list[DecodeError] = field(default_factory=list)


class Import(Generic[T]):
    """Folds the deltas of one prefix."""

    def __init__(self, decode: Callable[[str, bytes], T], admit: Callable[[T, PeerScope], T]) -> None:
        self._decode = decode
        self._admit = admit
        self._held: dict[bytes, bytes] = {}
        self._digest = Digest()

    @property
    def held(self) -> Mapping[bytes, bytes]:
        return MappingProxyType(self._held)

    @property
    def digest(self) -> str:
        """The same for the same entries, in whatever order they came."""
        return str(self._digest)

    def apply(self, delta: Delta, scope: PeerScope) -> Accepted[T]:
        result: Accepted[T] = Accepted()
        for key, value in delta.upserts:
            try:
                suffix = key.decode()
                result.upserts[suffix] = self._admit(self._decode(suffix, value), scope)
            except DecodeError as error:
                result.refusals.append(error)
            except UnicodeDecodeError:  # no Cilium writes such a key, and two of them could read alike
                result.refusals.append(DecodeError(ascii(key[:64]), "the key is not UTF-8"))
            else:
                self._store(key, value)
        result.removes = self._forget(delta.removes)
        return result

    def value(self, suffix: str, scope: PeerScope) -> T:
        """What is held under `suffix`, decoded again: values are not kept here."""
        return self._admit(self._decode(suffix, self._held[suffix.encode()]), scope)

    def drain(self) -> list[str]:
        """Forget everything; the suffixes that were held."""
        return self._forget(list(self._held))

    def _store(self, key: bytes, value: bytes) -> None:
        old = self._held.get(key)
        if old is not None:
            self._digest.toggle(key, old)
        self._held[key] = value
        self._digest.toggle(key, value)

    def _forget(self, keys: Iterable[bytes]) -> list[str]:
        gone = []
        for key in keys:
            old = self._held.pop(key, None)
            if old is not None:  # a key whose only value was refused was never held
                self._digest.toggle(key, old)
                gone.append(key.decode())
        return gone
