"""The watches of one stream: which there are, whether another may be made, and who counts them."""

from __future__ import annotations

from collections.abc import Callable

from clustermesh_apiserver.proxy.authz import Allow, Refuse
from clustermesh_apiserver.proxy.hub import Hub, TooManyFeeds
from clustermesh_apiserver.proxy.quota import Account
from clustermesh_apiserver.proxy.source import Head
from clustermesh_apiserver.proxy.status import DUPLICATE_WATCH, EMPTY_RANGE
from clustermesh_apiserver.proxy.watched import Watched, selection
from kvstore import messages

_OPEN_END = b"\0"  # as a range_end: all keys from the first on


class WatchSet:
    def __init__(self, hub: Hub, account: Account) -> None:
        self.by_id: dict[int, Watched] = {}
        self._hub = hub
        self._account = account
        self._next_id = 0

    def objection(self, request: messages.WatchCreateRequest) -> str:
        """etcd's word for why it would not make this watch; empty when it would."""
        if request.range_end not in (b"", _OPEN_END) and (request.key or b"\0") >= request.range_end:
            return EMPTY_RANGE
        return DUPLICATE_WATCH if request.watch_id and request.watch_id in self.by_id else ""

    def add(
        self,
        request: messages.WatchCreateRequest,
        start: int,
        head: Head,
        wake: Callable[[], None],
        *,
        asked: bytes,
        sent: Allow,
    ) -> Watched | Refuse:
        """Watch from revision `start` on; `wake` is called when there may be something. Refused where the
        client has too many."""
        account, feeds = self._account, self._account.feeds
        if not account.may_watch():
            return Refuse("quota", "watches")
        try:
            watch = self._hub.join(selection(request), start, head, wake, account.may_open_feed)
        except TooManyFeeds:
            account.watches -= 1
            account.feeds = feeds
            return Refuse("quota", "distinct watches")
        watch_id = request.watch_id or self._free_id()
        watched = Watched(watch, account.feeds > feeds, watch_id, request, asked=asked, sent=sent)
        self.by_id[watch_id] = watched
        return watched

    def remove(self, watch_id: int) -> bool:
        """Whether there was such a watch."""
        watched = self.by_id.pop(watch_id, None)
        if watched is None:
            return False
        watched.watch.close()
        self._account.watches -= 1
        self._account.feeds -= watched.is_first
        return True

    def _free_id(self) -> int:
        while self._next_id in self.by_id:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1
