"""Watches at a real etcd over sockets of our own: history, many at once, and every way in which they end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest

from aiokit.wait import eventually
from clustermesh_apiserver.proxy.method import WATCH
from clustermesh_apiserver.proxy.reply import Chunk, Heard
from clustermesh_apiserver.proxy.source import GrpcSource, Lost
from clustermesh_apiserver.proxy.wirecall import CallError, WireCall, WireChannel
from kvstore import messages as m
from kvstore.config import EtcdConfig
from kvstore.etcd import connect
from tests.conftest import RunningEtcd, free_port

WATCHES = 3000  # their requests are more than HTTP/2 lets out before etcd opens its windows
HISTORY = 40  # times 512 kB: more than the windows and the sockets' buffers take together


def call(target: str, *requests: m.WatchRequest, waits: bool = True) -> tuple[WireCall, Callable[[], None]]:
    """A watch stream, and what ends its requests."""
    over = threading.Event()

    def said() -> Iterator[bytes]:
        for request in requests:
            yield request.SerializeToString()
        if waits:
            over.wait(20)

    return WireChannel(target).stream_stream(WATCH.path)(said(), metadata=(("hasleader", "true"),)), over.set


def watch(key: bytes) -> m.WatchRequest:
    create = m.WatchCreateRequest(key=key, range_end=key + b"\xff", start_revision=1, fragment=True)
    return m.WatchRequest(create_request=create)


def target(etcd: RunningEtcd) -> str:
    return etcd.endpoint.removeprefix("http://")


async def test_more_watches_than_the_windows_let_out_at_once_are_all_made(etcd: RunningEtcd) -> None:
    source = GrpcSource(WireChannel(target(etcd)))
    heard = list[Heard | Lost]()
    for number in range(WATCHES):
        source.subscribe(m.WatchCreateRequest(key=b"key/%d" % number), heard.append, alone=False)
    await eventually(lambda: len(heard) == WATCHES)
    async with connect(EtcdConfig((etcd.endpoint,))) as backend:
        await backend.put(b"key/2999", b"value")
    await eventually(lambda: len(heard) > WATCHES)
    source.close()
    (chunk,) = [one.answer for one in heard if isinstance(one, Heard) and isinstance(one.answer, Chunk)]
    assert chunk.events == 1


async def test_history_waits_for_a_reader_that_does_not_read(etcd: RunningEtcd) -> None:
    async with connect(EtcdConfig((etcd.endpoint,))) as backend:
        for number in range(HISTORY):
            await backend.put(b"history/%d" % number, bytes(512 << 10))
    may_go_on, keys = threading.Event(), list[bytes]()
    one, end = call(target(etcd), watch(b"history/"))

    def read() -> None:
        for raw in one:
            answer = m.WatchResponse.FromString(raw)
            keys.extend(event.kv.key for event in answer.events)
            if keys:
                may_go_on.wait(20)
            if len(keys) == HISTORY:
                return

    reader = threading.Thread(target=read)
    reader.start()
    await eventually(lambda: bool(keys))
    assert len(keys) < HISTORY
    may_go_on.set()
    await eventually(lambda: not reader.is_alive())
    end()
    assert keys == [b"history/%d" % number for number in range(HISTORY)]


async def test_an_etcd_that_ends_says_so(etcd: RunningEtcd) -> None:
    one, end = call(target(etcd), watch(b"key"))
    answers = iter(one)
    assert m.WatchResponse.FromString(next(answers)).created
    etcd.stop()
    with pytest.raises(CallError) as raised:
        list(answers)
    end()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_what_etcd_does_not_serve_ends_with_its_own_word(etcd: RunningEtcd) -> None:
    with pytest.raises(CallError) as raised:
        list(WireChannel(target(etcd)).stream_stream("/etcdserverpb.Watch/Nothing")(iter(())))
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "unknown method Nothing" in raised.value.details()


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "no port"])
def test_nobody_there_is_unavailable(address: str) -> None:
    one, _ = call(address.format(port=free_port()), waits=False)
    with pytest.raises(CallError) as raised:
        list(one)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_server_of_something_else_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        other = threading.Thread(target=answer)
        other.start()
        one, _ = call(f"127.0.0.1:{server.getsockname()[1]}", waits=False)
        with pytest.raises(CallError) as raised:
            list(one)
        other.join(5)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_cancelling_ends_a_silent_watch_from_another_thread(etcd: RunningEtcd) -> None:
    one, end = call(target(etcd), watch(b"key"))
    heard, ended = list[bytes](), threading.Event()

    def read() -> None:
        with pytest.raises(CallError):
            heard.extend(one)
        ended.set()

    threading.Thread(target=read).start()
    await eventually(lambda: bool(heard) or one.is_connected)
    one.cancel()
    await eventually(ended.is_set)
    end()
    assert len(heard) <= 1


def test_a_call_cancelled_before_it_connects_says_nothing(etcd: RunningEtcd) -> None:
    one, end = call(target(etcd), watch(b"key"))
    one.cancel()
    assert list(one) == []
    end()
