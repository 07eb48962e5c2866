"""Answers to watch requests: the lines that a watcher gets, and sending them as they come.

A watcher holds a position in its collection's history, not a queue: a slow one falls out of the ring and
is told 410, whatever it held up costs nothing. Bookmarks tell a quiet watcher how far it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from lab.api.collection import Change, Collection, HistoryGoneError, Stored, from_value, within
from lab.api.kinds import Kind
from lab.api.list import served
from lab.api.status import expired
from lab.api.store import Store

Json = dict[str, Any]

BOOKMARK_SECONDS = 30.0  # real servers send one about every minute
DEFAULT_SECONDS = 1800.0  # of a watch that names no time-out
INITIAL_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class WatchRequest:
    kind: Kind
    prefix: bytes
    wanted: Callable[[Json], bool] | None
    resource_version: str = ""  # empty or "0": begin with what there is
    seconds: float = DEFAULT_SECONDS
    bookmarks: bool = False
    sends_initial: bool = False  # asked for the initial objects and a bookmark at their end


async def watch_lines(request: WatchRequest, store: Store) -> AsyncGenerator[bytes]:
    """Chunks of whole lines until time is up, history is lost or the server closes."""
    collection = store.of_kind(request.kind)
    deadline = time.monotonic() + request.seconds
    next_bookmark = time.monotonic() + BOOKMARK_SECONDS if request.bookmarks else math.inf
    try:
        number = _begin(request, collection, store.revision)
        if number is None:
            number = collection.next_number
            yield b"".join(_initial(request, collection, store.revision))
        while not store.is_closing and (now := time.monotonic()) < deadline:
            changes = collection.changes_from(number)
            number += len(changes)
            if chunk := b"".join(_lines(request, changes)):
                yield chunk
            elif changes:
                continue
            elif now >= next_bookmark:
                next_bookmark = now + BOOKMARK_SECONDS
                yield bookmark(request.kind, store.revision)
            else:
                await collection.wait_news(min(deadline, next_bookmark) - now)
        if request.bookmarks and not collection.changes_from(number):
            yield bookmark(request.kind, store.revision)
    except HistoryGoneError as error:
        yield _line("ERROR", msgspec.json.encode(expired(str(error)).body()))


def _begin(request: WatchRequest, collection: Collection, now: int) -> int | None:
    """The number of the first change to send; None: send the objects that there are."""
    if request.resource_version in ("", "0") or request.sends_initial:
        return None
    revision = int(request.resource_version)
    if revision > now:  # from before etcd was replaced: the client must not wait for it
        raise HistoryGoneError(f"too large resource version: {revision} ({now})")
    return collection.number_after(revision)


def _initial(request: WatchRequest, collection: Collection, revision: int) -> Iterable[bytes]:
    for stored in within(request.prefix, collection.objects, request.wanted):
        yield _object_line("ADDED", request.kind, stored)
    if request.sends_initial:
        yield bookmark(request.kind, revision, {INITIAL_END: "true"})


def _lines(request: WatchRequest, changes: Iterable[Change]) -> Iterable[bytes]:
    for change in changes:
        if line := _change_line(request, change):
            yield line


def _change_line(request: WatchRequest, change: Change) -> bytes:
    """What this watcher sees of a change: an object that stops matching its selector is gone for it."""
    old, new = _visible(request, change.old), _visible(request, change.new)
    if new is not None:
        return _object_line("MODIFIED" if old is not None else "ADDED", request.kind, new)
    if old is None:
        return b""
    return _object_line("DELETED", request.kind, from_value(old.key, old.value, change.revision))


def _visible(request: WatchRequest, stored: Stored | None) -> Stored | None:
    if stored is None or not stored.key.startswith(request.prefix):
        return None
    return stored if request.wanted is None or request.wanted(stored.body) else None


def _object_line(type_: str, kind: Kind, stored: Stored) -> bytes:
    return _line(type_, *served(kind, [stored]))


def bookmark(kind: Kind, revision: int, annotations: Json | None = None) -> bytes:
    metadata: Json = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    body = {"kind": kind.name, "apiVersion": kind.resource.api_version, "metadata": metadata}
    return _line("BOOKMARK", msgspec.json.encode(body))


def _line(type_: str, encoded: bytes) -> bytes:
    return b'{"type":"' + type_.encode() + b'","object":' + encoded + b"}\n"
