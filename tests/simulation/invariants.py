"""The twelve rules of the design, as far as they can be seen from outside, watched during a history.

Every write to a reader's kernel, every entry handed over by a peer and every drain is told to `Invariants`,
which holds them against what the clusters have really said. It knows the script of the history (who may
have lost what, and why) and nothing of the code under test. Violations are collected, not raised: they
must not be mistaken for errors that the code should survive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from zlib import crc32

from agent.ipcache import IPCacheEntry
from mesh.addressing import PeerScope
from mesh.keys import Kind, synced_key
from peering.clusterids import HOLD_DOWN_SECONDS
from tests.simulation.network import Wire
from tests.simulation.source import STABLE, ClusterSource

EPSILON = 1e-6
DIAL_WINDOW, DIALS = 60.0, 20  # rule 8: so many connections to one peer in so many seconds
LISTS = 40  # rule 8: lists of one prefix over one connection in the same time


@dataclass
class Pair:
    """One reader's view of one cluster: what the history did to it.

    `ongoing` are faults not yet mended. `excused`: the reader has good reason to have lost entries (drained,
    expired), until it was seen equal again. `settled`: seen equal, and nothing happened to it since.
    `due`: when it must have arrived, if that is known better than by the bound for all.
    """

    reader: str
    source: ClusterSource
    configured: bool = True
    ongoing: list[str] = field(default_factory=list)
    disturbed_at: float = -1000.0  # a beginning without faults is no fault
    excused: bool = True
    settled: bool = False
    due: float = 0.0


class Invariants:
    def __init__(self, sources: Mapping[str, ClusterSource], local: Mapping[str, IPCacheEntry]) -> None:
        self.violations: list[str] = []
        self.fingerprint = 0  # of everything that was seen, in order: equal for equal runs
        self.pairs: dict[tuple[str, str], Pair] = {}
        self._sources = sources
        self._local = local
        self._owners = {p: name for name, source in sources.items() for p in source.stable_prefixes()}
        self._programmed: set[tuple[str, str]] = set()  # (reader, prefix): our own entry was in the kernel
        self._ids: dict[str, dict[str, int]] = {}  # reader -> peer -> cluster id
        self._released: dict[tuple[str, int], tuple[str, float]] = {}

    def violated(self, rule: int, text: str) -> None:
        self.violations.append(f"rule {rule} at {_now():.3f} s: {text}")

    # the kernel

    def written(self, reader: str, prefix: str, entry: IPCacheEntry) -> None:
        self._seen(reader, prefix, entry.identity, entry.tunnel, entry.encrypt_key)
        own = self._local.get(prefix)
        if own is not None:
            if entry == own:
                self._programmed.add((reader, prefix))
            elif (reader, prefix) in self._programmed:
                self.violated(11, f"{reader}: own {prefix} became {entry}")
            return
        if not any(entry in source.spoken.get(prefix, ()) for source in self._sources.values()):
            self.violated(12, f"{reader}: {prefix} became {entry}, which no peer may claim")

    def deleted(self, reader: str, prefix: str) -> None:
        self._seen(reader, prefix)
        if (reader, prefix) in self._programmed:
            self.violated(11, f"{reader}: own {prefix} was removed")
        self._lost(reader, self._owners.get(prefix, ""), prefix)

    def served(self, reader: str, before: frozenset[str], after: frozenset[str]) -> None:
        """The backends of the shared service changed."""
        self._seen(reader, *sorted(after))
        for source in self._sources.values():
            for address in {source.ip(index) for index in range(STABLE)} & (before - after):
                self._lost(reader, source.name, f"backend {address}")

    def _seen(self, *what: object) -> None:
        self.fingerprint = crc32(repr((_now(), what)).encode(), self.fingerprint)

    def _lost(self, reader: str, cluster: str, what: str) -> None:
        pair = self.pairs.get((reader, cluster))
        if pair is not None and pair.configured and not pair.excused:
            self.violated(1, f"{reader}: {what} was removed though {cluster} still has it")

    # the peers

    def applying(self, reader: str, kind: Kind, scope: PeerScope, wire: Wire) -> None:
        self._seen(reader, kind, scope.name)
        link = max(wire.links, key=lambda link: link.number)
        is_announced = synced_key(kind, scope.name) in wire.store.announced
        if link.incarnation == wire.store.incarnation and not is_announced:
            self.violated(1, f"{reader}: {kind.name} of {scope.name} taken before its canary")
        ids = self._ids.setdefault(reader, {})
        if ids.get(scope.name) == scope.cluster_id:
            return
        for other, number in ids.items():
            if number == scope.cluster_id and other != scope.name:
                self.violated(7, f"{reader}: {scope.name} speaks under id {number} of {other}")
        holder, until = self._released.get((reader, scope.cluster_id), ("", 0.0))
        if holder not in ("", scope.name) and _now() < until - EPSILON:
            self.violated(7, f"{reader}: {scope.name} took id {scope.cluster_id} of {holder} too early")
        if scope.name in ids:
            self.violated(7, f"{reader}: {scope.name} changed its id without being drained")
        ids[scope.name] = scope.cluster_id

    def draining(self, reader: str, peer: str) -> None:
        number = self._ids.get(reader, {}).pop(peer, None)
        if number is not None:
            self._released[(reader, number)] = (peer, _now() + HOLD_DOWN_SECONDS)
        pair = self.pairs[(reader, peer)]
        if pair.configured and not pair.excused:
            self.violated(6, f"{reader}: {peer} was drained though it is configured and kept its id")

    def reader_ended(self, reader: str) -> None:
        self._ids.pop(reader, None)
        for key in [key for key in self._released if key[0] == reader]:
            del self._released[key]

    # the network

    def check_budget(self, reader: str, cluster: str, wire: Wire) -> None:
        """Rule 8: neither connections nor lists come in storms."""
        now = _now()
        recent = sum(1 for at in wire.dialled if at > now - DIAL_WINDOW)
        if recent > DIALS:
            self.violated(8, f"{reader}: {recent} connections to {cluster} within {DIAL_WINDOW:g} s")
        for prefix, times in wire.listed.items():
            lists = sum(1 for at in times if at > now - DIAL_WINDOW)
            if lists > LISTS:
                self.violated(8, f"{reader}: {lists} lists of {prefix!r} within {DIAL_WINDOW:g} s")
            del times[: -LISTS - 1]

    def check_silence(self, pair: Pair, wire: Wire) -> None:
        """A writer that has been silent for long is dialled again (spec 3.5), and nothing is lost by it."""
        if not any(at > pair.disturbed_at for at in wire.dialled):
            self.violated(6, f"{pair.reader}: {pair.source.name} is silent, and nobody noticed")


def _now() -> float:
    return asyncio.get_running_loop().time()
