"""Calls over the real server: messages in and out, how calls end, and what windows hold back."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import http2
from bench.http2 import DATA, END_STREAM, HEADERS, frame
from clustermesh_apiserver.proxy.call import Call
from clustermesh_apiserver.proxy.http2.frame import CONTINUATION, Code
from clustermesh_apiserver.proxy.http2.sender import ROOM_BYTES
from clustermesh_apiserver.proxy.status import OK, REFUSED, Ended, Status
from tests.clustermesh_apiserver.proxy.http2.far import ASK, Connect, Far, far, message, settled

LARGE = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    async with far() as connect:
        yield connect


@pytest.fixture
async def client(connect: Connect) -> Far:
    client = connect()
    client.begin()
    return client


def initial_window(size: int) -> bytes:
    return struct.pack(">HI", 4, size)


def opened(stream: int, by: int) -> bytes:
    return frame(http2.WINDOW_UPDATE, 0, stream, struct.pack(">I", by))


async def test_what_is_asked_is_answered_and_the_status_comes_last(client: Far) -> None:
    client.ask()
    client.tell(1, b"one")
    await settled(lambda: client.messages() == [b"one"])
    client.tell(1, b"two", ends=True)
    await settled(lambda: client.trailers() == {"grpc-status": "0"})
    assert client.messages() == [b"one", b"two"]
    assert client.reset() is None
    assert [one[0] for one in client.heard() if one[2] == 1] == [HEADERS, DATA, DATA, HEADERS]
    assert not client.connection.streams


@given(st.lists(st.binary(max_size=60), max_size=5), st.data())
def test_messages_may_be_cut_anywhere(contents: list[bytes], data: st.DataObject) -> None:
    raw = b"".join(map(message, contents))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    async def told() -> None:
        async with far() as connect:
            client = connect()
            client.begin()
            client.ask()
            client.send(*(frame(DATA, 0, 1, piece) for piece in pieces), frame(DATA, END_STREAM, 1))
            await settled(lambda: bool(client.trailers()))
            assert client.messages() == contents

    asyncio.run(told())


async def test_frames_may_be_cut_anywhere_and_come_together(client: Far) -> None:
    call = b"".join(
        http2.grpc_call(stream, "/a/b", "east", b"x") + frame(DATA, END_STREAM, stream) for stream in (1, 3)
    )
    client.send(*(call[at : at + 1] for at in range(len(call))))
    client.send(call.replace(b"\0\0\0\1", b"\0\0\0\5").replace(b"\0\0\0\3", b"\0\0\0\7")[: len(call) // 2])
    await settled(lambda: all(client.trailers(stream) for stream in (1, 3)))
    assert client.messages(3) == [b"x"]


async def test_padding_and_priorities_are_taken_off(client: Far) -> None:
    call = http2.grpc_call(1, "/a/b", "east", b"")
    block = next(http2.frames(bytearray(call)))[3]
    padded = b"\x03" + struct.pack(">IB", 0, 7) + block + bytes(3)
    client.send(frame(HEADERS, 0x4 | 0x8 | 0x20, 1, padded))
    client.send(frame(DATA, END_STREAM | 0x8, 1, b"\x02" + message(b"x") + bytes(2)))
    await settled(lambda: bool(client.trailers()))
    assert client.messages() == [b"x"]


async def test_headers_may_come_in_pieces(client: Far) -> None:
    block = next(http2.frames(bytearray(http2.grpc_call(1, "/a/b", "east", b""))))[3]
    client.send(frame(HEADERS, END_STREAM, 1, block[:10]), frame(CONTINUATION, 0, 1, block[10:20]))
    client.send(frame(CONTINUATION, 0x4, 1, block[20:]))
    await settled(lambda: client.trailers()["grpc-status"] == "0" if client.trailers() else False)


async def test_no_more_is_sent_than_the_windows_allow(connect: Connect) -> None:
    client = connect()
    client.begin(initial_window(10))
    client.ask()
    client.tell(1, b"x" * 100, ends=True)
    await settled(lambda: bool(client.of(DATA, 1)))

    def sent() -> int:
        return sum(len(one[3]) for one in client.of(DATA, 1))

    assert sent() == 10
    client.send(opened(1, 20))
    await settled(lambda: sent() == 30)
    client.send(frame(http2.SETTINGS, 0, 0, initial_window(15)))  # all open streams get five more
    await settled(lambda: sent() == 35)
    client.send(frame(http2.SETTINGS, 0, 0, initial_window(0)))  # below nothing
    client.send(opened(1, 10))
    assert not client.trailers()
    client.send(opened(1, 1000))
    await settled(lambda: bool(client.trailers()))
    assert client.messages() == [b"x" * 100]


async def test_a_large_answer_waits_for_the_connections_window_and_lets_others_by() -> None:
    async def answer(call: Call) -> Status:
        await call.write(LARGE if call.path == "/large" else b"small")
        return OK

    async with far(answer) as connect:
        client = connect()
        client.begin(initial_window(2**31 - 1))
        client.ask(1, path="/large", ends=True)
        await settled(lambda: sum(len(one[3]) for one in client.of(DATA, 1)) == 65_535)
        client.ask(3, path="/small", ends=True)
        await settled(lambda: client.connection.streams[3].progress_at is not None)
        for _ in range(64):
            client.send(opened(0, 20_000))
        await settled(lambda: bool(client.trailers(1)) and bool(client.trailers(3)))
        assert (client.messages(1), client.messages(3)) == ([LARGE], [b"small"])
        numbers = [one[2] for one in client.heard() if one[0] == DATA]
        assert numbers.index(3) < len(numbers) - 20
        assert max(len(one[3]) for one in client.heard()) <= 16_384


async def test_two_large_answers_take_turns() -> None:
    async def answer(call: Call) -> Status:
        await call.write(LARGE)
        return OK

    async with far(answer) as connect:
        client = connect()
        client.begin(initial_window(2**31 - 1))
        client.send(opened(0, 2**30))
        client.wire.pause_writing()
        for stream in (1, 3):
            client.ask(stream, ends=True)
        streams = client.connection.streams
        await settled(lambda: all(streams[number].progress_at is not None for number in (1, 3)))
        client.wire.resume_writing()
        await settled(lambda: bool(client.trailers(1)) and bool(client.trailers(3)))
        assert client.messages(1) == client.messages(3) == [LARGE]
        turns = [one[2] for one in client.heard() if one[0] == DATA]
        assert turns[:12] == [1, 1, 1, 1, 3, 3, 3, 3, 1, 1, 1, 1]


async def test_a_socket_that_is_full_holds_streams_back() -> None:
    sent = 0

    async def answer(call: Call) -> Status:
        nonlocal sent
        while sent * 10_000 <= 2 * ROOM_BYTES:
            await call.write(bytes(10_000))
            sent += 1
        return OK

    async with far(answer) as connect:
        client = connect()
        client.begin(initial_window(2**31 - 1))
        client.send(opened(0, 2**30))
        client.wire.pause_writing()
        client.ask()
        await settled(lambda: client.connection.streams[1].progress_at is not None)
        assert sent * 10_000 <= ROOM_BYTES
        client.wire.resume_writing()
        await settled(lambda: sent * 10_000 > 2 * ROOM_BYTES)


async def test_any_number_of_streams_may_wait_for_a_socket() -> None:
    number = 2000

    async def answer(call: Call) -> Status:
        if not call.may_send():
            call.on_writable = lambda: call.send(b"x")
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async with far(answer) as connect:
        client = connect()
        client.begin()
        client.wire.pause_writing()
        for stream in range(1, 2 * number, 2):
            client.ask(stream)
        await asyncio.sleep(0)
        client.wire.resume_writing()
        await settled(lambda: sum(one[0] == DATA for one in client.heard()) == number)


ENDINGS = {
    "refused": (REFUSED, "7", "etcdserver: permission denied"),
    "no ascii": (Status(grpc.StatusCode.UNKNOWN, "50 % nö\n"), "2", "50 %25 n%C3%B6%0A"),
}


@pytest.mark.parametrize("kind", ENDINGS)
async def test_a_refusal_is_told_at_once_and_the_client_may_stop(kind: str) -> None:
    status, code, text = ENDINGS[kind]

    async def answer(call: Call) -> Status:
        raise Ended(status)

    async with far(answer) as connect:
        client = connect()
        client.begin()
        client.ask()
        await settled(lambda: client.reset() is Code.NO_ERROR)
        told = client.trailers()
        assert (told[":status"], told["grpc-status"], told["grpc-message"]) == ("200", code, text)
        client.tell(1, b"that crossed it")  # and is no fault of the client's
        client.ask(3)
        await settled(lambda: bool(client.trailers(3)))
        assert client.is_open


async def test_metadata_of_etcds_comes_with_the_status_also_where_it_is_binary() -> None:
    async def answer(call: Call) -> Status:
        return Status(OK.code, "", (("raft", "3"), ("detail-bin", b"\0\xff")))

    async with far(answer) as connect:
        client = connect()
        client.begin()
        client.ask(ends=True)
        await settled(lambda: bool(client.trailers()))
        assert client.trailers()["raft"] == "3"
        assert client.trailers()["detail-bin"] == "AP8"


async def test_a_call_that_is_given_up_is_cancelled() -> None:
    ended = asyncio.Event()

    async def answer(call: Call) -> Status:
        try:
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]
        finally:
            ended.set()

    async with far(answer) as connect:
        client = connect()
        client.begin()
        client.ask()
        await asyncio.sleep(0)
        client.send(frame(http2.RST_STREAM, 0, 1, bytes([0, 0, 0, 8])))
        await asyncio.wait_for(ended.wait(), 5)
        await settled(lambda: client.connection.streams.running == 0)
        assert not client.of(HEADERS, 1)


async def test_a_deadline_is_kept(client: Far) -> None:
    client.ask(1, ("grpc-timeout", "20m"))
    await settled(lambda: client.trailers().get("grpc-status") == "4")
    assert client.trailers()["grpc-message"] == "context deadline exceeded"


NONSENSE = {
    "compressed": (message(b"x", flag=1), "12"),
    "too large": (b"\0" + (3 << 20).to_bytes(4, "big"), "8"),
    "cut short": (b"\0\0\0\0\5abc", "13"),
}


@pytest.mark.parametrize("kind", NONSENSE)
async def test_a_message_that_cannot_be_taken_ends_its_call_with_a_status(client: Far, kind: str) -> None:
    raw, status = NONSENSE[kind]
    client.ask()
    client.send(frame(DATA, END_STREAM, 1, raw))
    await settled(lambda: client.trailers().get("grpc-status") == status)
    client.ask(3, ends=True)
    await settled(lambda: bool(client.trailers(3)))


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        (":method", "GET", "405"),
        ("content-type", "text/html", "415"),
        ("content-type", "application/grpc-web", "415"),
    ],
)
async def test_what_is_not_grpc_gets_http_words(client: Far, name: str, value: str, status: str) -> None:
    client.headers(1, [(known, value if known == name else said) for known, said in ASK])
    await settled(lambda: client.trailers().get(":status") == status)
    assert client.reset() is Code.NO_ERROR


async def test_a_bug_of_ours_ends_one_call_and_is_written_down(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(call: Call) -> Status:
        raise KeyError("a bug")

    async with far(answer) as connect:
        client = connect()
        client.begin()
        client.ask()
        await settled(lambda: client.trailers().get("grpc-status") == "13")
        assert client.is_open
    assert "a bug" in caplog.text


async def test_a_connection_that_drains_ends_with_its_last_call(client: Far) -> None:
    client.ask()
    await asyncio.sleep(0)
    client.connection.drain()
    client.ask(3)
    await settled(lambda: client.reset(3) is Code.REFUSED_STREAM)
    assert client.goodbye() == (Code.NO_ERROR, "the server ends")
    client.tell(1, b"x", ends=True)
    await settled(lambda: not client.is_open)
    assert client.messages() == [b"x"]
    assert client.trailers() == {"grpc-status": "0"}
