"""One watch of a client's stream: what was asked for, what was sent on, what the hub gives."""

from __future__ import annotations

from clustermesh_apiserver.proxy import reply
from clustermesh_apiserver.proxy.authz import STATE, Allow
from clustermesh_apiserver.proxy.feed import Selection
from clustermesh_apiserver.proxy.feedwatch import Watch
from clustermesh_apiserver.proxy.hub import TooManyFeeds
from clustermesh_apiserver.proxy.source import Lost
from clustermesh_apiserver.proxy.status import TOO_SLOW, Ended
from kvstore import messages


class Watched:
    """A watch of this stream, and what was asked for beside the events."""

    __slots__ = ("asked", "fragment", "is_first", "progress", "sent", "watch", "watch_id")

    def __init__(
        self,
        watch: Watch,
        is_first: bool,
        watch_id: int,
        request: messages.WatchCreateRequest,
        *,
        asked: bytes,
        sent: Allow,
    ) -> None:
        self.asked = asked  # as it came
        self.sent = sent
        self.watch = watch
        self.is_first = is_first
        self.watch_id = watch_id
        self.progress = request.progress_notify
        self.fragment = request.fragment

    def take_ending(self) -> bytes | None:
        """The answer that ends it; None while it goes on. Raises Ended where the whole stream ends."""
        try:
            ending = self.watch.take_ending()
        except TooManyFeeds:
            raise Ended(TOO_SLOW) from None
        if ending is None:
            return None
        if isinstance(ending, Lost):
            raise Ended(ending.status)
        return reply.with_id(ending.raw, self.watch_id)


def is_of_state(asked: bytes) -> bool:
    """Whether a create request is for this cluster's own entries: those that not everybody may see."""
    return STATE.start <= messages.WatchRequest.FromString(asked).create_request.key < STATE.end


def selection(request: messages.WatchCreateRequest) -> Selection:
    return Selection(request.key, request.range_end, request.prev_kv, tuple(sorted(set(request.filters))))
