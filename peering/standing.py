"""What a peer's etcd has now and we do not take: which keys, and why. Pure.

Beside the counters of `peering.refusals`, which only grow: an entry that is deleted there, or put right, is
none of these any more. Keys come from peers, so how many are remembered is bounded; those beyond are counted
until the next connection, which tells everything again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from peering.refusals import MAX_REASONS, OTHER, reason_of

MAX_KEYS = 4096
MAX_KEY_LENGTH = 512  # bytes; no Cilium writes longer ones


class Standing:
    """Keys relative to their prefix, with the reason each is refused for."""

    def __init__(self) -> None:
        self._reasons: dict[bytes, str] = {}
        self._untracked = 0

    @property
    def reasons(self) -> Mapping[bytes, str]:
        """Always the same view."""
        return self._reasons

    @property
    def counts(self) -> Mapping[str, int]:
        """Reason -> how many entries."""
        found = Counter(self._reasons.values())
        if self._untracked:
            found[OTHER] += self._untracked
        return found

    def add(self, key: bytes, message: str) -> None:
        is_known = key in self._reasons
        if is_known or (len(self._reasons) < MAX_KEYS and len(key) <= MAX_KEY_LENGTH):
            self._reasons[key] = reason_of(message)
        else:
            self._untracked += 1

    def discard(self, keys: Iterable[bytes]) -> None:
        if self._reasons:
            for key in keys:
                self._reasons.pop(key, None)

    def begin(self) -> None:
        """A new connection: what could not be remembered will be told again, if it is still there."""
        self._untracked = 0

    def clear(self) -> None:
        self._reasons.clear()
        self._untracked = 0


class Told:
    """What is held together with what is refused, for the compare with a peer's list. Satisfies
    `kvstore.watch.Holding`.

    So a refused key that is gone is heard of; and a value that is told for one is always offered, also the
    one that is still held from before.
    """

    def __init__(
        self, held: Mapping[bytes, object], refused: Standing, holds: Callable[[bytes, bytes], bool]
    ) -> None:
        """`holds`: of those that are held. A list of half a million is asked for one by one: no calls more
        than needed."""
        self._held = held
        self._refused = refused.reasons
        self._holds = holds

    def __iter__(self) -> Iterator[bytes]:
        return chain(self._held, (key for key in self._refused if key not in self._held))

    def __contains__(self, key: bytes, /) -> bool:
        return key in self._held or key in self._refused

    def holds(self, key: bytes, value: bytes) -> bool:
        return key not in self._refused and self._holds(key, value)


def added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Sums by reason, no more reasons than `Refusals` knows."""
    sums: Counter[str] = Counter()
    for each in counts:
        sums.update(each)
    kept = dict(sums.most_common(MAX_REASONS))
    if beyond := sums.total() - sum(kept.values()):
        kept[OTHER] = kept.get(OTHER, 0) + beyond
    return kept
