"""etcd's answers on a watch stream, as bytes: told apart, joined, cut, and given another watch id. Pure.

Two facts of protocol buffers carry the fan-out. Serialised answers that are concatenated are one answer:
events append, of a header's or a number's values the last counts. And a field may come last: appending
`10 <varint id>` gives an answer another watch id. So events are read once, whoever gets them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kvstore.messages import ResponseHeader, WatchResponse
from mesh.protowire import write_number

NO_WATCH = -1  # the id of a watch that was never made, and of what is said of a whole stream
_HEADER_TAG = b"\x0a"  # field 1, a message
_WATCH_ID = 2
_WATCH_ID_TAG = b"\x10"  # that field, a varint


@dataclass(frozen=True, slots=True)
class Chunk:
    """One answer with events, which holds all of its range from revision `first` to `last`."""

    raw: bytes
    first: int
    last: int
    events: int


@dataclass(frozen=True, slots=True)
class Created:
    """The watch stands; etcd was at `revision`."""

    revision: int


@dataclass(frozen=True, slots=True)
class Progress:
    """All events up to `revision` have been sent. `asked`: an answer to a request of ours."""

    revision: int
    raw: bytes
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The watch is over. `compacted`: the revision below which history is gone; 0 when it is not that."""

    raw: bytes
    compacted: int
    reason: str


Answer = Chunk | Created | Progress | Cancelled


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, the etcd cluster that gave it, and the watch that it is for.

    `is_first`: it answers a create request.
    """

    cluster_id: int
    watch_id: int
    is_first: bool
    answer: Answer


def read(raw: bytes) -> Heard:
    """What was said; the answer's bytes are then those for watch 0. Raises protobuf's DecodeError."""
    answer = WatchResponse.FromString(raw)
    bare = raw if answer.watch_id == 0 else without_id(raw)
    return Heard(answer.header.cluster_id, answer.watch_id, answer.created, _told(bare, answer))


def _told(raw: bytes, answer: WatchResponse) -> Answer:
    if answer.canceled:
        return Cancelled(raw, answer.compact_revision, answer.cancel_reason)
    if answer.created:
        return Created(answer.header.revision)
    if events := answer.events:
        return Chunk(raw, events[0].kv.mod_revision, events[-1].kv.mod_revision, len(events))
    return Progress(answer.header.revision, raw, asked=answer.watch_id == NO_WATCH)


def with_id(raw: bytes, watch_id: int) -> bytes:
    """The answer for the watch of that id; `raw` came for watch 0, which is not written at all."""
    return raw + write_number(_WATCH_ID, watch_id) if watch_id else raw


def without_id(raw: bytes) -> bytes:
    """The answer for watch 0. etcd writes the header first and the id behind it."""
    if raw[:1] == _HEADER_TAG:
        size, begin = _read_varint(raw, 1)
        at = begin + size
        if raw[at : at + 1] == _WATCH_ID_TAG:
            _, end = _read_varint(raw, at + 1)
            return raw[:at] + raw[end:]
    answer = WatchResponse.FromString(raw)
    answer.watch_id = 0
    return answer.SerializeToString()


def since(chunk: Chunk, revision: int) -> Chunk:
    """Only the events of `revision` and later; at least one there must be."""
    answer = WatchResponse.FromString(chunk.raw)
    kept = [event for event in answer.events if event.kv.mod_revision >= revision]
    del answer.events[:]
    answer.events.extend(kept)
    return Chunk(answer.SerializeToString(), kept[0].kv.mod_revision, chunk.last, len(kept))


def fragments(raw: bytes, most_bytes: int) -> Iterator[bytes]:
    """The answer in parts of about `most_bytes`, as a client gets it that asked for fragments."""
    whole = WatchResponse.FromString(raw)
    part = WatchResponse(header=whole.header, watch_id=whole.watch_id, fragment=True)
    size = 0
    for event in whole.events:
        length = event.ByteSize()
        if part.events and size + length > most_bytes:
            yield part.SerializeToString()
            del part.events[:]
            size = 0
        part.events.append(event)
        size += length
    part.fragment = False
    yield part.SerializeToString()


def created(header: ResponseHeader, watch_id: int, start: int) -> bytes:
    """A watch from revision `start` on stands. Its header's revision is below every event's to come."""
    mine = ResponseHeader()
    mine.CopyFrom(header)
    mine.revision = max(1, min(header.revision, start - 1))
    return WatchResponse(header=mine, watch_id=watch_id, created=True).SerializeToString()


def never_made(header: ResponseHeader, reason: str) -> bytes:
    """A create request was refused, in etcd's form: created and cancelled at once."""
    return WatchResponse(
        header=header, watch_id=NO_WATCH, created=True, canceled=True, cancel_reason=reason
    ).SerializeToString()


def cancelled(header: ResponseHeader, watch_id: int) -> bytes:
    """The client's request to end a watch was heard."""
    return WatchResponse(header=header, watch_id=watch_id, canceled=True).SerializeToString()


def compacted(header: ResponseHeader, watch_id: int) -> bytes:
    """The watch is over; whoever had it lists again, as if the history up to now were gone."""
    return WatchResponse(
        header=header, watch_id=watch_id, canceled=True, compact_revision=max(1, header.revision)
    ).SerializeToString()


def ended(header: ResponseHeader, watch_id: int, reason: str) -> bytes:
    """The watch is over, and that was not its client's wish."""
    return WatchResponse(
        header=header, watch_id=watch_id, canceled=True, cancel_reason=reason
    ).SerializeToString()


def progress(header: ResponseHeader, revision: int) -> bytes:
    """Every watch of the stream has been sent all events up to `revision`."""
    mine = ResponseHeader()
    mine.CopyFrom(header)
    mine.revision = revision
    return WatchResponse(header=mine, watch_id=NO_WATCH).SerializeToString()


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    number = shift = 0
    while raw[at] > 127:
        number |= (raw[at] & 127) << shift
        shift += 7
        at += 1
    return number | raw[at] << shift, at + 1
