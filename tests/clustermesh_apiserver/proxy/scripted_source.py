"""Watches at etcd that say what a test tells them to, when it tells them to; and can be lost."""

from __future__ import annotations

import queue
import threading

import grpc

from clustermesh_apiserver.proxy import reply
from clustermesh_apiserver.proxy.source import Lost, Put
from clustermesh_apiserver.proxy.status import Status
from kvstore.messages import WatchCreateRequest

LOST = Status(grpc.StatusCode.UNAVAILABLE, "etcdserver: server stopped")


class ScriptedWatch:
    """`say` returns at once; a thread of its own gives the answers on, and waits where it is made to."""

    def __init__(self, create: WatchCreateRequest, put: Put, *, alone: bool) -> None:
        self.create = create
        self.alone = alone
        self.progress_asked = 0
        self.closed = threading.Event()
        self.given = 0
        self._put = put
        self._answers: queue.SimpleQueue[bytes | Lost | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._give, daemon=True)
        self._thread.start()

    def say(self, *raws: bytes) -> None:
        for raw in raws:
            self._answers.put(raw)

    def lose(self, status: Status = LOST) -> None:
        self._answers.put(Lost(status))

    def ask_progress(self) -> None:
        self.progress_asked += 1

    def close(self) -> None:
        self.closed.set()
        self._answers.put(None)

    def _give(self) -> None:
        while (raw := self._answers.get()) is not None:
            self.given += 1
            self._put(raw if isinstance(raw, Lost) else reply.read(raw))


class ScriptedSource:
    def __init__(self) -> None:
        self.watches: list[ScriptedWatch] = []

    def subscribe(self, create: WatchCreateRequest, put: Put, *, alone: bool) -> ScriptedWatch:
        self.watches.append(ScriptedWatch(create, put, alone=alone))
        return self.watches[-1]

    @property
    def open_watches(self) -> list[ScriptedWatch]:
        return [watch for watch in self.watches if not watch.closed.is_set()]
