"""Questions for progress on a stream of several watches: answered once, when the last of them can say it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from aiokit.wait import eventually
from clustermesh_apiserver.proxy import watch as watch_module
from clustermesh_apiserver.proxy.authz import role_of
from clustermesh_apiserver.proxy.caller import Caller, Certificate
from clustermesh_apiserver.proxy.hub import running_hub
from clustermesh_apiserver.proxy.method import WATCH
from clustermesh_apiserver.proxy.metric import Metrics
from clustermesh_apiserver.proxy.quota import DEFAULT, Account
from clustermesh_apiserver.proxy.ring import BATCH_BYTES
from clustermesh_apiserver.proxy.source import Head
from clustermesh_apiserver.proxy.watch import WatchStream
from kvstore import messages as m
from tests.clustermesh_apiserver.proxy.answers import events, header
from tests.clustermesh_apiserver.proxy.scripted_source import ScriptedSource

CERTIFICATE = Certificate(1, datetime.now(UTC), datetime.now(UTC), b"")  # nobody looks at it here
QUESTION = m.WatchRequest(progress_request=m.WatchProgressRequest())


CALLER = Caller(role_of(["remote"], "east"), "ipv4:10.0.0.1:1", "ipv4:10.0.0.1", CERTIFICATE)


class Client:
    """The far end of a stream, as the transport shows it to a handler."""

    path = WATCH.path
    caller = CALLER
    metadata = ()
    deadline = None

    def __init__(self) -> None:
        self.on_writable: Callable[[], None] = lambda: None
        self.asked: asyncio.Queue[bytes] = asyncio.Queue()
        self.told: list[m.WatchResponse] = []

    def ask(self, request: m.WatchRequest) -> None:
        self.asked.put_nowait(request.SerializeToString())

    def watch(self, key: bytes) -> None:
        self.ask(m.WatchRequest(create_request=m.WatchCreateRequest(key=b"cilium/state/" + key)))

    async def read(self) -> bytes:
        return await self.asked.get()

    def may_send(self) -> bool:
        return True

    def send(self, message: bytes) -> None:
        self.told.append(m.WatchResponse.FromString(message))

    async def write(self, message: bytes) -> None:
        self.send(message)

    @property
    def progress(self) -> list[int]:
        return [one.header.revision for one in self.told if one.watch_id == -1]


class AtHundred:
    """etcd's head, always the same; this etcd answers in order."""

    newest = Head(100, True)

    async def ask(self) -> m.ResponseHeader:
        return header(100)


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource()


@pytest.fixture
async def client(source: ScriptedSource) -> AsyncIterator[Client]:
    """One whose stream has two watches, each with its own at etcd."""
    client = Client()
    async with running_hub(source) as hub, asyncio.TaskGroup() as group:
        stream = WatchStream(client, Account(DEFAULT), hub=hub, head=AtHundred(), metrics=Metrics())
        task = group.create_task(stream.run(), name="stream")
        client.watch(b"a")
        client.watch(b"b")
        await eventually(lambda: len(client.told) == 2)
        yield client
        task.cancel()


def answers(revision: int) -> bytes:
    return m.WatchResponse(header=header(revision), watch_id=-1).SerializeToString()


async def asked(source: ScriptedSource, times: int = 1) -> None:
    await eventually(lambda: all(watch.progress_asked == times for watch in source.open_watches))


async def test_the_answer_is_what_all_watches_can_say(client: Client, source: ScriptedSource) -> None:
    client.ask(QUESTION)
    await asked(source)
    source.watches[0].say(events([(105, b"a")]), answers(130))
    await eventually(lambda: len(client.told) == 3)
    assert client.progress == []
    source.watches[1].say(answers(120))
    await eventually(lambda: client.progress == [120])
    assert client.told[2].events[0].kv.mod_revision == 105


async def test_a_second_question_is_not_answered_with_the_first_ones_answer(
    client: Client, source: ScriptedSource
) -> None:
    for revision, times in ((110, 1), (120, 2)):
        client.ask(QUESTION)
        await asked(source, times)
        for watch in source.watches:
            watch.say(answers(revision))
        await eventually(lambda times=times: len(client.progress) == times)  # type: ignore[misc]
    assert client.progress == [110, 120]


async def test_a_watch_that_is_cancelled_meanwhile_is_not_waited_for(
    client: Client, source: ScriptedSource
) -> None:
    client.ask(QUESTION)
    await asked(source)
    source.watches[0].say(answers(130), events([(131, b"a")]))
    await eventually(lambda: len(client.told) == 3)
    client.ask(m.WatchRequest(cancel_request=m.WatchCancelRequest(watch_id=1)))
    await eventually(lambda: client.progress == [130])


async def test_a_watch_that_comes_meanwhile_is_waited_for(client: Client, source: ScriptedSource) -> None:
    client.ask(QUESTION)
    await asked(source)
    client.watch(b"c")
    await eventually(lambda: len(source.watches) == 3)
    await asked(source)
    for number, watch in enumerate(source.watches):
        watch.say(answers(120 - number))
    await eventually(lambda: client.progress == [118])


async def test_a_watch_that_ends_meanwhile_is_not_waited_for(client: Client, source: ScriptedSource) -> None:
    client.ask(QUESTION)
    await asked(source)
    source.watches[0].say(answers(130), events([(131, b"a")]))
    await eventually(lambda: len(client.told) == 3)
    ended = m.WatchResponse(header=header(131), canceled=True, compact_revision=500)
    source.watches[1].say(ended.SerializeToString())
    await eventually(lambda: client.progress == [130])
    assert [one.watch_id for one in client.told if one.canceled] == [1]


async def test_a_watch_that_takes_more_than_its_turn_goes_on_in_the_next(
    client: Client, source: ScriptedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "ROUNDS", 1)
    half = bytes(BATCH_BYTES * 2 // 3)  # no two of them fit into one answer
    source.watches[0].say(*(events([(revision, b"a")], value=half) for revision in (101, 102, 103)))
    await eventually(lambda: [one.header.revision for one in client.told[2:]] == [101, 102, 103])


async def test_a_bug_in_one_stream_does_not_keep_others_from_their_events(
    client: Client, source: ScriptedSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(message: bytes) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(client, "send", fails)
    source.watches[0].say(events([(101, b"a")]))
    await eventually(lambda: "a bug" in caplog.text)
