"""One watch of a client's stream: what was asked for, what was sent on, what the hub gives."""

from __future__ import annotations

from clustermesh_apiserver.proxy.authz import STATE, Allow
from clustermesh_apiserver.proxy.feed import Selection
from clustermesh_apiserver.proxy.hub import Watch
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


def is_of_state(asked: bytes) -> bool:
    """Whether a create request is for this cluster's own entries: those that not everybody may see."""
    return STATE.start <= messages.WatchRequest.FromString(asked).create_request.key < STATE.end


def selection(request: messages.WatchCreateRequest) -> Selection:
    return Selection(request.key, request.range_end, request.prev_kv, tuple(sorted(set(request.filters))))
