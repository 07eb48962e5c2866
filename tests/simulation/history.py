"""One history: a world, a random run of faults, healing, and what must be true in the end."""

from __future__ import annotations

import asyncio
import heapq
import logging
from dataclasses import dataclass, field
from itertools import count
from random import Random

from tests.simulation.faults import FAULTS, Later, Mend
from tests.simulation.loop import run
from tests.simulation.world import BOUND, World

SETTLE_SECONDS = 40.0  # at first, without faults
PROBE_SECONDS = 30.0
QUIET_SECONDS = 150.0  # at the end, nothing may happen any more: longer than the accepted silence


@dataclass
class Outcome:
    seed: int
    violations: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    seconds: float = 0.0
    fingerprint: int = 0


def play(seed: int, *, aloud: bool = False) -> Outcome:
    """Live through the history of `seed`. `aloud` prints it, with the programs' own log."""
    outcome = Outcome(seed)
    logging.disable(logging.NOTSET if aloud else logging.CRITICAL)
    try:
        run(lambda: _History(seed, outcome, aloud=aloud).live(), seed)
    except Exception as error:  # a bug of the code under test is a finding like others
        outcome.violations.append(f"{type(error).__name__}: {_leaf(error)!r}")
        if aloud:
            raise
    finally:
        logging.disable(logging.NOTSET)
    return outcome


class _History:
    def __init__(self, seed: int, outcome: Outcome, *, aloud: bool) -> None:
        self._seed = seed
        self._outcome = outcome
        self._aloud = aloud
        self._chance = Random(seed + 0.5)
        self._order = count()
        self._mends: list[tuple[float, int, Mend]] = []

    async def live(self) -> None:
        async with asyncio.TaskGroup() as group:
            world = World(self._seed, group, self._say)
            try:
                world.start()
                await self._until(world, SETTLE_SECONDS)
                await self._suffer(world)
                await self._heal(world)
            except _Violated:
                pass
            finally:
                self._outcome.violations += world.watch.violations
                self._outcome.seconds = self._now()
                self._outcome.fingerprint = world.watch.fingerprint
                await world.stop()

    async def _suffer(self, world: World) -> None:
        weights, faults = [weight for weight, _ in FAULTS], [fault for _, fault in FAULTS]
        for _ in range(self._chance.choice((3, 8, 12, 20))):
            await self._until(world, self._now() + self._chance.choice((0.01, 1.0, 5.0, 20.0, 60.0)))
            (fault,) = self._chance.choices(faults, weights)
            later = await fault(world)
            if isinstance(later, Later):
                at = self._now() + later.after
                heapq.heappush(self._mends, (at, next(self._order), later.mend))

    async def _heal(self, world: World) -> None:
        self._say("everything is mended")
        while self._mends:
            await heapq.heappop(self._mends)[2]()
        for source in world.sources.values():
            source.mend()
        end = self._now() + BOUND + 3 * PROBE_SECONDS
        while not world.probe() and self._now() < end:
            await self._until(world, self._now() + PROBE_SECONDS)
        await self._until(world, self._now() + QUIET_SECONDS)
        if not world.probe(strict=True):
            world.watch.violated(3, "not everybody has arrived")

    async def _until(self, world: World, end: float) -> None:
        """Let time pass, mending what is due, and look now and then."""
        while self._now() < end:
            due = self._mends[0][0] if self._mends else end
            await asyncio.sleep(
                max(0.0, min(end, due, world.next_due(), self._now() + PROBE_SECONDS) - self._now())
            )
            while self._mends and self._mends[0][0] <= self._now():
                await heapq.heappop(self._mends)[2]()
            world.probe()
            if world.watch.violations:
                raise _Violated

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _say(self, text: str) -> None:
        line = f"{self._now():9.3f}  {text}"
        self._outcome.trace.append(line)
        if self._aloud:
            print(line)  # noqa: T201 - this is the program's output


class _Violated(Exception):
    """Enough was seen."""


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
