"""What should stand under a prefix, what is believed to stand there, and what is left to do. Pure.

Belief is only ever a saving: a failed or doubtful write drops it, and a compare with what really stands
there (`observe`) replaces it. Nothing that we did not write ourselves is deleted before the source has
handed over its first complete listing: until then "not wanted" may only mean "not heard of yet".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from kvstore.backend import KeyValue
from kvstore.digest import Digest

Lease = int
Stored = tuple[bytes, Lease]
Heard = float | None  # by the caller's clock; None: nobody asked for it now, we found that it is due


class Step(NamedTuple):
    """Store `value` under `key`; None: delete it. `heard` is when this was first asked for.

    A named tuple because a hundred thousand are made in a second: half the time of a dataclass.
    """

    key: bytes
    value: bytes | None
    heard: Heard = None

    @property
    def size(self) -> int:
        return len(self.key) + len(self.value or b"")


class Ledger:
    """`prunes`: what stands there and is not wanted is ours to delete, once the source is listed."""

    def __init__(self, *, prunes: bool = True) -> None:
        self._prunes = prunes
        self._wanted: dict[bytes, bytes] = {}
        self._stored: dict[bytes, Stored] = {}
        # In order; a key that changes again keeps its one place. Not a dict: finding the first key of
        # one from whose front many were deleted takes time in proportion to those.
        self._queue: OrderedDict[bytes, Heard] = OrderedDict()
        self._taken: set[bytes] = set()  # being done now
        self._parked: set[bytes] = set()  # refused by the store: tried again after the next compare
        self._is_listed = False
        self._digest = Digest()
        self._undigested: dict[bytes, Stored | None] = {}  # what the digest still has of these keys

    @property
    def is_listed(self) -> bool:
        return self._is_listed

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def parked(self) -> int:
        return len(self._parked)

    @property
    def pending(self) -> int:
        """How many entries are not known to be stored: queued, being done, or refused."""
        return len(self._queue) + len(self._taken) + len(self._parked)

    @property
    def stored(self) -> int:
        return len(self._stored)

    @property
    def digest(self) -> str:
        """Of what is stored; empty while `digest_some` has work."""
        return "" if self._undigested else str(self._digest)

    def digest_some(self, count: int) -> bool:
        """Take up to `count` changed entries into the digest; whether there are more.

        Not done while storing: a hash of each entry would slow that by a twentieth.
        """
        while self._undigested and count:
            key, old = self._undigested.popitem()
            new = self._stored.get(key)
            for stored in (old, new) if old != new else ():
                if stored is not None:
                    self._digest.toggle(key, stored[0])
            count -= 1
        return bool(self._undigested)

    def upsert(self, key: bytes, value: bytes, heard: Heard = None) -> None:
        if self._wanted.get(key) != value:
            self._wanted[key] = value
            self._enqueue(key, heard)

    def remove(self, key: bytes, heard: Heard = None) -> None:
        """Also for a key never upserted: an earlier run of ours may have stored it."""
        self._wanted.pop(key, None)
        self._enqueue(key, heard)

    def mark_listed(self) -> None:
        """The source's first complete listing was handed over: what it lacks may go."""
        self._is_listed = True
        self._prune()

    def observe(self, actual: Iterable[KeyValue], lease_of: Callable[[bytes], Lease]) -> None:
        """Replace belief by what really stands there, and queue every difference.

        `actual` has relative keys; `lease_of` tells the lease that we hold for a key.
        """
        stored = {pair.key: (pair.value, pair.lease) for pair in actual}
        for key in self._stored.keys() | stored.keys():
            if self._stored.get(key) != stored.get(key):
                self._undigested.setdefault(key, self._stored.get(key))
        self._stored = stored
        self._parked.clear()
        for key, value in self._wanted.items():
            if self._stored.get(key) != (value, lease_of(key)):
                self._enqueue(key)
        self._prune()

    def lost(self, keys: Iterable[bytes]) -> None:
        """The leases of these keys ended: what was stored under them is gone."""
        for key in keys:
            self._forget(key)
            if key in self._wanted:
                self._enqueue(key)

    def take(self, count: int, size: int) -> list[Step]:
        """The next steps to do, at most `count` of them and about `size` bytes, but at least one.

        Each must come back by `done`, `failed` or `refused`.
        """
        steps: list[Step] = []
        while self._queue and len(steps) < count:
            key, heard = self._queue.popitem(last=False)
            step = Step(key, self._wanted.get(key), heard)
            size -= step.size
            if steps and size < 0:
                self._queue[key] = heard
                self._queue.move_to_end(key, last=False)
                break
            self._taken.add(key)
            steps.append(step)
        return steps

    def is_stored(self, step: Step, lease: Lease) -> bool:
        """Whether doing this step would change nothing: then it is done."""
        return step.value is not None and self._stored.get(step.key) == (step.value, lease)

    def done(self, step: Step, lease: Lease) -> None:
        self._taken.discard(step.key)
        if step.value is None:
            self._forget(step.key)
        else:
            self._undigested.setdefault(step.key, self._stored.get(step.key))
            self._stored[step.key] = (step.value, lease)

    def failed(self, step: Step) -> None:
        """Not done, or nobody knows: forget what is stored and do it again."""
        self._taken.discard(step.key)
        self._forget(step.key)
        self._enqueue(step.key)
        self._queue[step.key] = step.heard  # it was asked for before whatever was queued meanwhile

    def refused(self, step: Step) -> None:
        """The store said no: trying again at once would not help, and must not hold back the others."""
        self._taken.discard(step.key)
        self._forget(step.key)
        if step.key not in self._queue:  # else it has changed meanwhile: that is another try
            self._parked.add(step.key)

    def _forget(self, key: bytes) -> None:
        self._undigested.setdefault(key, self._stored.pop(key, None))

    def _enqueue(self, key: bytes, heard: Heard = None) -> None:
        """A key that changes again before it was stored has waited since the first time."""
        self._parked.discard(key)
        if self._queue.setdefault(key, heard) is None:
            self._queue[key] = heard

    def _prune(self) -> None:
        if self._is_listed and self._prunes:
            self._enqueue_all(self._stored.keys() - self._wanted.keys())

    def _enqueue_all(self, keys: Iterable[bytes]) -> None:
        for key in sorted(keys):
            self._enqueue(key)
