"""All watches of all clients, on as few watches at etcd as can be.

Watches of the same selection share a feed. The lead of a selection is its feed that starts last: whoever
comes with a revision that it holds joins it. Older history is read through a feed of its own, and the
watcher goes over to the lead as soon as nothing is missing in between. A round moves what the feeds'
threads have read into their rings and wakes the watchers; rounds are spaced by the merge window.

Bytes in, bytes out: the hub knows neither gRPC nor clients. A watcher is woken and takes batches.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from clustermesh_apiserver.proxy.feed import Feed, Selection
from clustermesh_apiserver.proxy.feedwatch import Watch
from clustermesh_apiserver.proxy.ring import Batch
from clustermesh_apiserver.proxy.source import Head, Source
from clustermesh_apiserver.proxy.window import MergeWindow

RING_BYTES = 32 << 20  # of one feed: a minute of 1,000 changes a second for who reconnects or reads slowly
ALL_RINGS_BYTES = 256 << 20  # of all feeds; the longest give way
MAX_FEEDS = 8192  # a cluster's own agents need some eight for each of the 255 members of a mesh
MAX_LAG = 10_000  # revisions of history that a newcomer may have to wait for in a shared feed
PROGRESS_SECONDS = 0.1  # between two requests for progress of one feed: many clients ask at once


class TooManyFeeds(Exception):
    """No further distinct watch can be opened at etcd."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What the hub holds and has done."""

    watchers: int
    feeds: int
    ring_bytes: int
    window_seconds: float
    batches: int
    deliveries: int


class Hub:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._feeds: dict[Selection, list[Feed]] = {}  # the lead is the last
        self._watches: dict[Feed, set[Watch]] = {}
        self._window = MergeWindow()
        self._round_due = False
        self._news: deque[Feed] = deque()  # feeds whose thread has brought something; filled by those threads
        self._ring_bytes = 0
        self._asking: set[Feed] = set()
        self._head = Head(0, False)
        self._batches = 0
        self._deliveries = 0

    def join(
        self,
        selection: Selection,
        start: int,
        head: Head,
        wake: Callable[[], None],
        may_open: Callable[[], bool] = lambda: True,
    ) -> Watch:
        """Watch from revision `start` on; `head`: etcd's state after the client has asked.

        `may_open` is asked where this is the first watch of its kind. Raises TooManyFeeds.
        """
        self._head = head
        known = choose(self._feeds.get(selection, ()), start)
        if known is None and not may_open():
            raise TooManyFeeds
        # A watch of the far future begins now as well: what is too early for it is left out.
        feed = known or self._open(selection, min(start, head.revision + 1), head)
        watch = Watch(self, feed, start, wake)
        self._watches[feed].add(watch)
        return watch

    def leave(self, watch: Watch) -> None:
        watchers = self._watches.get(watch.feed)
        if watchers is None:
            return
        watchers.discard(watch)
        if not watchers:
            self._close(watch.feed)

    def leads(self, feed: Feed) -> bool:
        """Whether watchers of this feed have nowhere to go over to."""
        return self._feeds[feed.selection][-1] is feed

    def move(self, watch: Watch) -> None:
        """A watcher has read its feed to the end: if that is not the lead, can it go over?"""
        feeds = self._feeds.get(watch.feed.selection, ())
        if not feeds or feeds[-1] is watch.feed or feeds[-1].ending is not None:
            return
        self._rehome(watch, feeds[-1])

    def place_anew(self, watch: Watch) -> None:
        """Its feed has ended, for a reason that does not concern it."""
        selection, start = watch.feed.selection, watch.cursor.next
        feed = choose(self._feeds.get(selection, ()), start) or self._open(selection, start, self._head)
        self._rehome(watch, feed)

    def ask_progress(self, feed: Feed) -> None:
        if feed not in self._asking:
            self._asking.add(feed)
            self._loop.call_later(PROGRESS_SECONDS, self._ask, feed)

    def took(self, batch: Batch) -> None:
        self._batches += 1
        self._deliveries += batch.events

    def totals(self) -> Totals:
        return Totals(
            sum(map(len, self._watches.values())),
            len(self._watches),
            self._ring_bytes,
            self._window.seconds,
            self._batches,
            self._deliveries,
        )

    def close(self) -> None:
        """End all watches at etcd."""
        for feed in list(self._watches):
            self._close(feed)

    def _open(self, selection: Selection, start: int, head: Head) -> Feed:
        if len(self._watches) >= MAX_FEEDS:
            raise TooManyFeeds
        feed = Feed(
            selection,
            start,
            head.revision,
            bound=RING_BYTES,
            exact_progress=head.exact_progress,
            notify=self._notify,
        )
        feeds = self._feeds.setdefault(selection, [])
        feeds.append(feed)
        feeds.sort(key=lambda one: one.start)
        self._watches[feed] = set()
        feed.open(self._source)
        return feed

    def _close(self, feed: Feed) -> None:
        del self._watches[feed]
        self._ring_bytes -= feed.ring.bytes
        feeds = self._feeds[feed.selection]
        feeds.remove(feed)
        if not feeds:
            del self._feeds[feed.selection]
        feed.close()

    def _rehome(self, watch: Watch, feed: Feed) -> None:
        old = watch.feed
        if not watch.to(feed):
            return
        self._watches[feed].add(watch)
        self._watches[old].discard(watch)
        if watch.is_confirming:
            self.ask_progress(feed)
        if not self._watches[old]:
            self._close(old)
        watch.wake()

    def _shorten_rings(self) -> None:
        """Keep all rings together within their bound: the longest is halved, again and again."""
        while self._ring_bytes > ALL_RINGS_BYTES:
            longest = max((feed.ring for feed in self._watches), key=lambda ring: ring.bytes)
            before = longest.bytes
            longest.shrink(before // 2)
            if longest.bytes == before:
                return  # it is one answer
            self._ring_bytes -= before - longest.bytes

    def _notify(self, feed: Feed) -> None:
        """From a thread of the source's."""
        self._news.append(feed)
        if self._round_due:
            return  # it will look at this feed too
        self._round_due = True
        try:
            self._loop.call_soon_threadsafe(self._arrange_round)
        except RuntimeError:  # the loop is closed: nobody is there any more
            self._round_due = False

    def _arrange_round(self) -> None:
        delay = self._window.delay(self._loop.time())
        if delay > 0:
            self._loop.call_later(delay, self._round)
        else:
            self._round()

    def _round(self) -> None:
        began = self._loop.time()
        self._round_due = False  # before looking: what comes from now on asks for another round
        for feed in self._with_news():
            self._drain(feed)
        if self._ring_bytes > ALL_RINGS_BYTES:
            self._shorten_rings()
        # Behind all that was just woken: their writes are what the round costs.
        self._loop.call_soon(lambda: self._window.spent(began, self._loop.time()))

    def _with_news(self) -> set[Feed]:
        feeds = set()
        while self._news:
            feeds.add(self._news.popleft())
        return feeds

    def _drain(self, feed: Feed) -> None:
        watches = self._watches.get(feed)
        if watches is None:
            return  # closed meanwhile
        before, confirmed = feed.ring.bytes, feed.confirmed
        concerns_all = feed.drain()
        self._ring_bytes += feed.ring.bytes - before
        if concerns_all:
            _wake(watches)
        elif feed.confirmed is not confirmed:
            _wake(watch for watch in watches if watch.is_confirming)

    def _ask(self, feed: Feed) -> None:
        self._asking.discard(feed)
        feed.ask_progress()


def choose(feeds: Iterable[Feed], start: int) -> Feed | None:
    """The feed to join for a watch from revision `start` on: one that holds it and is not far behind it."""
    for feed in reversed(list(feeds)):
        is_near = feed.lag <= MAX_LAG or start - feed.ring.covered <= MAX_LAG
        if feed.ring.floor < start and is_near and feed.ending is None:
            return feed
    return None


def _wake(watches: Iterable[Watch]) -> None:
    for watch in list(watches):
        watch.wake()


@asynccontextmanager
async def running_hub(source: Source) -> AsyncGenerator[Hub]:
    hub = Hub(source)
    try:
        yield hub
    finally:
        hub.close()
