"""Several clusters with a store and a writer each, several readers, and the wires between them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from random import Random

from tests.simulation.invariants import Invariants, Pair
from tests.simulation.network import SimStore, Wire
from tests.simulation.reader import LOCAL, Reader
from tests.simulation.settled import Said, foreign, unsettled
from tests.simulation.source import ClusterSource
from tests.simulation.writer import Writer

NAMES = ("west", "north", "south")
BOUND = 600.0  # everything quiet for this long: then everybody must have arrived
PROPAGATION = 15.0  # after a change of the source, while all is well
AFTERMATH = 160.0  # a fault may still show this long after it was mended: a silence is noticed late
SILENCE = 200.0  # a reader has noticed that a writer is silent, and dialled again
SILENCES = (["writer down"], ["writer cut"])
LANDING = 30.0  # what was lost has been removed by then

HELD = ("num-nodes", "num-endpoints", "num-identities", "num-shared-services")

Say = Callable[[str], None]


class World:
    def __init__(self, seed: int, group: asyncio.TaskGroup, say: Say) -> None:
        self.chance = Random(seed)
        self.group = group
        self._reapers: list[asyncio.Task[None]] = []
        self.say = say
        clusters = self.chance.choice((2, 2, 3))
        self.sources = {
            name: ClusterSource(name, index + 2, Random(self.chance.random()))
            for index, name in enumerate(NAMES[:clusters])
        }
        self.watch = Invariants(self.sources, {prefix: entry for prefix, (_, entry) in LOCAL.items()})
        self.stores = {name: SimStore(name, self._lost) for name in self.sources}
        self.writers = {
            name: Writer(source, self.stores[name], Wire(self.stores[name], self.chance))
            for name, source in self.sources.items()
        }
        self.readers = {
            f"reader-{index}": self._reader(f"reader-{index}")
            for index in range(self.chance.choice((1, 1, 2)))
        }
        self.pairs = self.watch.pairs = {
            (reader, name): Pair(reader, source)
            for reader in self.readers
            for name, source in self.sources.items()
        }

    def _reader(self, name: str) -> Reader:
        untidy = self.chance.random() < 0.5
        wires = {cluster: Wire(store, self.chance, untidy=untidy) for cluster, store in self.stores.items()}
        return Reader(name, wires, self.watch)

    def start(self) -> None:
        self._reapers = [
            self.group.create_task(store.reap(), name=f"reaper/{store.name}")
            for store in self.stores.values()
        ]
        for writer in self.writers.values():
            writer.start(self.group)
        for reader in self.readers.values():
            for cluster in self.sources:
                reader.configure(cluster)
            reader.start(self.group, self.chance.uniform(0.0, 20.0))

    async def stop(self) -> None:
        for reader in self.readers.values():
            await reader.stop()
        for writer in self.writers.values():
            await writer.stop()
        for reaper in self._reapers:
            reaper.cancel()

    # what faults say of themselves

    def select(self, reader: str = "", cluster: str = "") -> list[Pair]:
        return [
            pair for (of, name), pair in self.pairs.items() if reader in ("", of) and cluster in ("", name)
        ]

    def disturbed(
        self, pairs: Iterable[Pair], begun: str = "", ended: str = "", excused: bool = False
    ) -> None:
        """Something happened to these pairs: what they must do begins anew when it is over."""
        for pair in pairs:
            pair.settled = False
            pair.due = 0.0
            pair.disturbed_at = asyncio.get_running_loop().time()
            pair.excused = pair.excused or excused
            if begun:
                pair.ongoing.append(begun)
            if ended:
                pair.ongoing.remove(ended)

    def _lost(self, cluster: str) -> None:
        """A lease ended: what was stored under it is gone, and readers are right to let go."""
        self.disturbed(self.select(cluster=cluster), excused=True)

    # looking

    def probe(self, *, strict: bool = False) -> bool:
        """Check every pair; whether all have arrived. `strict`: also that nothing else is there."""
        now = asyncio.get_running_loop().time()
        said = {name: reader.says() for name, reader in self.readers.items()}
        configured = [pair for pair in self.pairs.values() if pair.configured]
        arrived = [self._arrived(pair, now, said[pair.reader]) for pair in configured]
        for (name, cluster), pair in self.pairs.items():
            wire = self.readers[name].wires[cluster]
            self.watch.check_budget(name, cluster, wire)
            if pair.ongoing in SILENCES and now - pair.disturbed_at > SILENCE and pair.configured:
                self.watch.check_silence(pair, wire)
        if all(arrived) and strict:
            for name, reader in self.readers.items():
                known = [pair.source for pair in configured if pair.reader == name]
                if problem := foreign(reader, known):
                    self.watch.violated(3, f"{name}: {problem}")
        return all(arrived)

    def next_due(self) -> float:
        """When somebody must have arrived."""
        now = asyncio.get_running_loop().time()
        return min((p.due + 0.001 for p in self.pairs.values() if p.due > now), default=math.inf)

    def _arrived(self, pair: Pair, now: float, said: Mapping[str, Said]) -> bool:
        if pair.ongoing:
            return False
        if now - pair.source.changed_at < PROPAGATION:
            return pair.settled
        if self._has_rival(pair, said):
            return self._is_arrived(pair, now, _refused(said.get(pair.source.name)), promises=False)
        problem = unsettled(self.readers[pair.reader], pair.source, said.get(pair.source.name))
        return self._is_arrived(pair, now, problem, promises=True)

    def _is_arrived(self, pair: Pair, now: float, problem: str, *, promises: bool) -> bool:
        quiet = now - pair.disturbed_at
        if not problem:
            pair.due = 0.0
            if promises and quiet > LANDING:
                pair.excused = False
            if promises and quiet > AFTERMATH and not pair.settled:
                self.say(f"{pair.reader} and {pair.source.name} are settled")
                pair.settled = True
            return True
        where = f"{pair.reader} and {pair.source.name}: {problem}"
        if pair.settled:
            self.watch.violated(2, f"{where}, though nothing happened to them")
        elif 0.0 < pair.due < now:
            self.watch.violated(2, f"{where}, though they began well")
        elif quiet > BOUND:
            self.watch.violated(3, f"{where}, {BOUND:g} s after the last fault")
        return False

    def _has_rival(self, pair: Pair, said: Mapping[str, Said]) -> bool:
        """Whether another peer of this reader had the same id first: then all hangs on that one."""
        rivals = [
            p.source.name
            for p in self.select(pair.reader)
            if p.source.id == pair.source.id and p.configured and p is not pair
        ]
        mine = said.get(pair.source.name, {})
        return not mine.get("ready") and any(said.get(name, {}).get("ready") for name in rivals)


def _refused(said: Said | None) -> str:
    """What is wrong with a peer that must be refused for its id."""
    if said is None:
        return "the peer is not known yet"
    held = [name for name in HELD if said.get(name)]
    if held:
        return f"it was refused for its id, yet we hold {held} of it"
    text = said["status"]
    return "" if "already used by" in text or "Waiting" in text else f"refused for its id, but: {text}"
