"""One kind of one peer's entries: etcd's bytes in, admitted values out. Pure: no I/O, no clock.

Keeps a fingerprint of what was accepted, because the next connection is compared with it (rule 3); the bytes
of half a million entries would be most of an agent's memory. A value that cannot be decoded or that the peer
may not claim is refused: the previous value stays, and is offered again with every reconnection. Which are
refused now is known, too (`peering.standing`). The digest, which is made of the same fingerprints, lets two
members compare what they hold of a peer (rule 10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kvstore.digest import Digest, fingerprint
from kvstore.watch import Delta, Pair
from mesh.addressing import PeerScope
from mesh.errors import DecodeError
from peering.standing import Standing, Told

T = TypeVar("T")


@dataclass(slots=True)
class Accepted(Generic[T]):
    """What one delta means: suffix -> value, suffixes gone, and what was refused."""

    upserts: dict[str, T] = field(default_factory=dict)
    removes: list[str] = field(default_factory=list)
    refusals: list[DecodeError] = field(default_factory=list)


# the plain entries among some pairs by suffix, None when one of them is not: then all go one by one
Bulk = Callable[[Sequence[Pair], PeerScope], "dict[str, T] | None"]


class Import(Generic[T]):
    """Folds the deltas of one prefix. Satisfies `kvstore.watch.Holding`: what was accepted is held.
    `refused` are the entries that the peer has now and that were not; a compare asks `told`: it knows both.

    `bulk` decodes and admits many at once, and gives up rather than refuse.
    """

    def __init__(
        self,
        decode: Callable[[str, bytes], T],
        admit: Callable[[T, PeerScope], T],
        bulk: Bulk[T] = lambda _pairs, _scope: None,
    ) -> None:
        self._decode = decode
        self._admit = admit
        self._bulk = bulk
        self._held: dict[bytes, int] = {}
        self._digest = Digest()
        self.refused = Standing()
        self.told = Told(self._held, self.refused, self.holds)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._held)

    def __contains__(self, key: bytes, /) -> bool:
        return key in self._held

    def holds(self, key: bytes, value: bytes) -> bool:
        """By its fingerprint: that another value of the same key has the same is one chance in 2^64."""
        return self._held.get(key) == fingerprint(key, value)

    @property
    def digest(self) -> str:
        """The same for the same entries, in whatever order they came."""
        return str(self._digest)

    def apply(self, delta: Delta, scope: PeerScope) -> Accepted[T]:
        self.refused.discard(key for key, _ in delta.upserts)
        self.refused.discard(delta.removes)
        plain = self._bulk(delta.upserts, scope) if delta.upserts else None
        if plain is not None:
            result = Accepted(plain)
            self._store(delta.upserts)
        else:
            result = self._one_by_one(delta.upserts, scope)
        result.removes = self._forget(delta.removes)
        return result

    def _one_by_one(self, pairs: Iterable[Pair], scope: PeerScope) -> Accepted[T]:
        result: Accepted[T] = Accepted()
        accepted: list[Pair] = []
        for key, value in pairs:
            try:
                suffix = key.decode()
                result.upserts[suffix] = self._admit(self._decode(suffix, value), scope)
            except DecodeError as error:
                self._refuse(result, key, error)
            except UnicodeDecodeError:  # no Cilium writes such a key, and two of them could read alike
                self._refuse(result, key, DecodeError(ascii(key[:64]), "the key is not UTF-8"))
            else:
                accepted.append((key, value))
        self._store(accepted)
        return result

    def _refuse(self, result: Accepted[T], key: bytes, error: DecodeError) -> None:
        result.refusals.append(error)
        self.refused.add(key, error.reason)

    def drain(self) -> list[str]:
        """Forget everything; the suffixes that were held."""
        self.refused.clear()
        return self._forget(list(self._held))

    def _store(self, pairs: Iterable[Pair]) -> None:
        held, changed = self._held, 0
        for key, value in pairs:
            new = fingerprint(key, value)
            changed ^= new ^ held.get(key, 0)
            held[key] = new
        self._digest.toggle_print(changed)

    def _forget(self, keys: Iterable[bytes]) -> list[str]:
        gone = []
        for key in keys:
            old = self._held.pop(key, None)
            if old is not None:  # a key whose only value was refused was never held
                self._digest.toggle_print(old)
                gone.append(key.decode())
        return gone
