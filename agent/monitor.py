"""Who watches packets, and what they are told. The programs write events only while somebody watches.

A watcher that reads too slowly loses events and is told how many; it never slows anybody else, or packets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from bpf import event_map
from bpf.event_map import Event

QUEUE = 4096  # events a watcher may be behind: a second or so of a busy node's drops
POLL_SECONDS = 0.05  # as prompt as people can read; the ring holds 20,000 events meanwhile
DRAIN = 2000  # events taken at once, before other tasks get their turn


class EventRing(Protocol):
    def drain(self, limit: int) -> list[bytes]: ...


class ConfigMap(Protocol):
    def update(self, items: Iterable[tuple[bytes, bytes]]) -> None: ...


@dataclass(eq=False)
class Watcher:
    """`drops`, and one of `trace_every` forwarded packets (0: none)."""

    drops: bool
    trace_every: int
    events: asyncio.Queue[Event] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    lost: int = 0

    def wants(self, event: Event) -> bool:
        return self.drops if event.kind == "drop" else bool(self.trace_every)

    def offer(self, event: Event) -> None:
        if self.events.full():
            self.lost += 1
        else:
            self.events.put_nowait(event)


class Monitor:
    """`run` is its task."""

    def __init__(self, ring: EventRing, config: ConfigMap) -> None:
        self._ring = ring
        self._config = config
        self._watchers: list[Watcher] = []
        self._watched = asyncio.Event()

    @contextmanager
    def watching(self, *, drops: bool, trace_every: int) -> Generator[Watcher]:
        watcher = Watcher(drops, trace_every)
        if not self._watchers:
            self._take(lambda _: None)  # what was left when the last one went
        self._watchers.append(watcher)
        try:
            self._configure()
            self._watched.set()
            yield watcher
        finally:
            self._watchers.remove(watcher)
            self._configure()
            if not self._watchers:
                self._watched.clear()
                self._take(lambda _: None)  # an older version, if one follows, could not read all kinds

    async def run(self) -> None:
        self._configure()  # an earlier life may have been killed while somebody watched
        while True:
            await self._watched.wait()
            self._take(self._tell)
            await asyncio.sleep(POLL_SECONDS)

    def _take(self, tell: Callable[[Event], None]) -> None:
        while records := self._ring.drain(DRAIN):
            for raw in records:
                tell(event_map.unpack(raw))
            if len(records) < DRAIN:
                return

    def _tell(self, event: Event) -> None:
        for watcher in self._watchers:
            if watcher.wants(event):
                watcher.offer(event)

    def _configure(self) -> None:
        """The most that anybody wants."""
        every = [watcher.trace_every for watcher in self._watchers if watcher.trace_every]
        drops = any(watcher.drops for watcher in self._watchers)
        value = event_map.pack_config(drops=drops, trace_every=min(every, default=0))
        self._config.update([(event_map.KEY, value)])
