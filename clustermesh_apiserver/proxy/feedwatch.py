"""One watcher of a feed: where it stands, and what it may take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from clustermesh_apiserver.proxy.feed import Feed
from clustermesh_apiserver.proxy.reply import Cancelled
from clustermesh_apiserver.proxy.ring import Batch, Cursor
from clustermesh_apiserver.proxy.source import Lost


class Feeds(Protocol):
    """Whose feeds they are: `hub.Hub`."""

    def leads(self, feed: Feed) -> bool: ...
    def move(self, watch: Watch) -> None: ...
    def place_anew(self, watch: Watch) -> None: ...
    def ask_progress(self, feed: Feed) -> None: ...
    def took(self, batch: Batch) -> None: ...
    def leave(self, watch: Watch) -> None: ...


class Watch:
    """One watcher. `wake` is called when there may be something to take."""

    __slots__ = ("_confirmed_before", "_hub", "_progress_at", "cursor", "feed", "is_confirming", "wake")

    def __init__(self, hub: Feeds, feed: Feed, start: int, wake: Callable[[], None]) -> None:
        self.feed = feed
        self.cursor = Cursor(feed.ring, start)
        self.wake = wake
        self.is_confirming = False
        self._hub = hub
        self._progress_at = feed.progress  # what was said before we came is not for us
        self._confirmed_before = feed.confirmed

    @property
    def has_lapsed(self) -> bool:
        return self.cursor.has_lapsed

    @property
    def is_settled(self) -> bool:
        """Nothing is to be taken (progress excepted) until it is woken."""
        is_waiting = self.cursor.is_at_end and self.feed.ending is None and not self.is_confirming
        return is_waiting and self._hub.leads(self.feed)

    def take(self) -> Batch | None:
        """The events since the last time. Raises ring.Lapsed."""
        batch = self.cursor.take()
        self.feed.taken(self.cursor.position)
        if batch is None:
            self._hub.move(self)
        else:
            self._hub.took(batch)
        return batch

    def take_progress(self) -> bytes | None:
        """The word of progress that was said where this watcher stands, once."""
        said = self.feed.progress
        if said is None or said is self._progress_at or said[0] != self.cursor.position:
            return None
        self._progress_at = said
        return said[1]

    def take_confirmed(self) -> int | None:
        """The revision up to which this watcher has everything, once that was asked for and answered."""
        confirmed = self.feed.confirmed
        if not self.is_confirming or confirmed is None or confirmed is self._confirmed_before:
            return None
        if self.cursor.position < confirmed[0]:
            return None
        self.is_confirming = False
        return confirmed[1]

    def take_ending(self) -> Cancelled | Lost | None:
        """Why nothing will come any more. A watcher whose history is still there is placed anew instead."""
        ending = self.feed.ending
        if ending is None or self.cursor.position < self.cursor.ring.end:
            return None
        # At the compacted revision itself etcd has forgotten deletions: who goes on there would miss them.
        if isinstance(ending, Cancelled) and 0 < ending.compacted < self.cursor.next:
            self._hub.place_anew(self)
            return None
        return ending

    def ask_progress(self) -> None:
        """Have `take_confirmed` answered."""
        self.is_confirming = True
        self._confirmed_before = self.feed.confirmed
        self._hub.ask_progress(self.feed)

    def close(self) -> None:
        self._hub.leave(self)

    def to(self, feed: Feed) -> bool:
        """Go on in another feed, if it has all that is to come."""
        if not self.cursor.move(feed.ring):
            return False
        self.feed = feed
        self._progress_at = feed.progress
        self._confirmed_before = feed.confirmed
        return True
