"""Many watches on one stream of etcd's: each answer finds its watch, and the end finds all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from aiokit.wait import eventually
from clustermesh_apiserver.proxy.reply import Cancelled, Chunk, Created, Heard, Progress
from clustermesh_apiserver.proxy.source import GrpcSource, Lost
from kvstore import messages as m
from tests.clustermesh_apiserver.proxy.answers import events, header

KEY = m.WatchCreateRequest(key=b"k", start_revision=5)


class LostCall(grpc.RpcError):  # type: ignore[misc]  # grpc has no types
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "etcdserver: no leader"

    def trailing_metadata(self) -> None:
        return None


class Call:
    """A stream as gRPC gives it; `said` is answered in the order of the requests."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.requests: list[m.WatchRequest] = []
        self.answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.cancelled = threading.Event()
        threading.Thread(target=self._take, args=[requests], daemon=True).start()

    def _take(self, requests: Iterator[bytes]) -> None:
        for raw in requests:
            self.requests.append(m.WatchRequest.FromString(raw))

    def __iter__(self) -> Iterator[bytes]:
        while (raw := self.answers.get()) is not None:
            yield raw
        raise LostCall

    def cancel(self) -> None:
        self.cancelled.set()
        self.answers.put(None)

    def say(self, watch_id: int, **fields: Any) -> None:
        answer = m.WatchResponse(header=header(9), watch_id=watch_id, **fields)
        self.answers.put(answer.SerializeToString())


class Channel:
    def __init__(self) -> None:
        self.calls: list[Call] = []

    def stream_stream(self, _path: str) -> Any:
        def opened(requests: Iterator[bytes], metadata: Any) -> Call:
            assert ("hasleader", "true") in metadata
            self.calls.append(Call(requests))
            return self.calls[-1]

        return opened


class Watching:
    def __init__(self, source: GrpcSource, *, alone: bool = False) -> None:
        self.heard: list[Heard | Lost] = []
        create = m.WatchCreateRequest()
        create.CopyFrom(KEY)
        self.subscription = source.subscribe(create, self.heard.append, alone=alone)

    async def hears(self, kind: type) -> Any:
        def answers() -> list[Any]:
            return [one for item in self.heard if isinstance(one := _answer(item), kind)]

        await eventually(lambda: bool(answers()))
        return answers()[-1]


def _answer(item: Heard | Lost) -> object:
    return item.answer if isinstance(item, Heard) else item


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def source(channel: Channel) -> Iterator[GrpcSource]:
    source = GrpcSource(channel)
    yield source
    source.close()
    assert all(call.cancelled.is_set() for call in channel.calls)


async def test_live_watches_share_a_stream_and_get_each_their_own(
    source: GrpcSource, channel: Channel
) -> None:
    first, second = Watching(source), Watching(source)
    (call,) = channel.calls
    await eventually(lambda: len(call.requests) == 2)
    ids = [request.create_request.watch_id for request in call.requests]
    for watch_id in ids:
        call.say(watch_id, created=True)
    raw = m.WatchResponse.FromString(events([(9, b"k")]))
    raw.watch_id = ids[1]
    call.answers.put(raw.SerializeToString())
    assert (await second.hears(Chunk)).raw == events([(9, b"k")])
    assert [type(_answer(item)) for item in first.heard] == [Created]


async def test_history_has_a_stream_alone(source: GrpcSource, channel: Channel) -> None:
    Watching(source)
    alone = Watching(source, alone=True)
    Watching(source)
    assert len(channel.calls) == 2
    alone.subscription.close()
    assert channel.calls[1].cancelled.is_set()
    assert not channel.calls[0].cancelled.is_set()


async def test_a_watch_that_etcd_will_not_make_is_found_by_its_turn(
    source: GrpcSource, channel: Channel
) -> None:
    first, second = Watching(source), Watching(source)
    await eventually(lambda: len(channel.calls[0].requests) == 2)
    channel.calls[0].say(channel.calls[0].requests[0].create_request.watch_id, created=True)
    channel.calls[0].say(-1, created=True, canceled=True, cancel_reason="no")
    assert (await second.hears(Cancelled)).reason == "no"
    assert [type(_answer(item)) for item in first.heard] == [Created]


async def test_word_of_progress_goes_to_those_who_asked(source: GrpcSource, channel: Channel) -> None:
    asking, other = Watching(source), Watching(source)
    asking.subscription.ask_progress()
    (call,) = channel.calls
    await eventually(lambda: any(request.HasField("progress_request") for request in call.requests))
    call.say(-1)
    assert (await asking.hears(Progress)).asked
    assert other.heard == []


async def test_a_closed_watch_is_cancelled_and_the_last_one_ends_the_stream(
    source: GrpcSource, channel: Channel
) -> None:
    first, second = Watching(source), Watching(source)
    (call,) = channel.calls
    first.subscription.close()
    await eventually(lambda: any(request.HasField("cancel_request") for request in call.requests))
    assert not call.cancelled.is_set()
    second.subscription.close()
    assert call.cancelled.is_set()
    Watching(source)
    assert len(channel.calls) == 2


@pytest.mark.parametrize("is_nonsense", [False, True], ids=["lost", "nonsense"])
async def test_the_end_of_a_stream_reaches_all_its_watches_and_a_new_one_begins_anew(
    source: GrpcSource, channel: Channel, is_nonsense: bool
) -> None:
    watches = [Watching(source), Watching(source)]
    channel.calls[0].answers.put(b"\xff\xff" if is_nonsense else None)
    for watching in watches:
        lost = await watching.hears(Lost)
        assert lost.status.code is grpc.StatusCode.UNAVAILABLE
    Watching(source)
    assert len(channel.calls) == 2
    channel.calls[0].cancel()
