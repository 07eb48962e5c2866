"""Clients that break the protocol or make work for nothing: they are told so and go, and leave nothing."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable

import hpack
import pytest

from bench import http2
from bench.http2 import DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame
from clustermesh_apiserver.proxy.http2 import keepalive, sender, server, settings, wire
from clustermesh_apiserver.proxy.http2.frame import CONTINUATION, PRIORITY, PUSH_PROMISE, Code
from clustermesh_apiserver.proxy.http2.streams import SILENT_SECONDS
from tests.clustermesh_apiserver.proxy.http2.far import ASK, Connect, Far, far, message, settled

NUMBER = struct.Struct(">I")
SETTING = struct.Struct(">HI")
BLOCK = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*one) for one in ASK])
BOMB = b"\x40\x01a\x7f\x80\x1e" + b"x" * 3967  # one header that goes into the table, to be named again
WINDOW_UPDATE = http2.WINDOW_UPDATE


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    async with far() as connect:
        yield connect


@pytest.fixture
async def client(connect: Connect) -> Far:
    """One whose first call runs."""
    client = connect()
    client.begin()
    client.ask()
    return client


def setting(name: int, value: int) -> bytes:
    return frame(SETTINGS, 0, 0, SETTING.pack(name, value))


FAULTS: dict[str, tuple[bytes, Code]] = {
    "oversize": (frame(DATA, 0, 1, bytes(16_385)), Code.FRAME_SIZE_ERROR),
    "data for the connection": (frame(DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
    "data for a stream to come": (frame(DATA, 0, 3, b"x"), Code.PROTOCOL_ERROR),
    "padding": (frame(DATA, 0x8, 1, b"\x05abc"), Code.PROTOCOL_ERROR),
    "an even stream": (frame(HEADERS, END_HEADERS, 2, BLOCK), Code.PROTOCOL_ERROR),
    "headers of nothing": (frame(HEADERS, END_HEADERS, 0, BLOCK), Code.PROTOCOL_ERROR),
    "garbage for headers": (frame(HEADERS, END_HEADERS, 3, b"\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
    "headers without an end": (
        frame(HEADERS, 0, 3, BLOCK) + frame(DATA, 0, 1, b"x"),
        Code.PROTOCOL_ERROR,
    ),
    "two headers at once": (frame(HEADERS, 0, 3, b"") + frame(CONTINUATION, 4, 5, b""), Code.PROTOCOL_ERROR),
    "a continuation of nothing": (frame(CONTINUATION, END_HEADERS, 1, BLOCK), Code.PROTOCOL_ERROR),
    "a push": (frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "a priority of three bytes": (frame(PRIORITY, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR),
    "a reset of a stream to come": (frame(RST_STREAM, 0, 3, bytes(4)), Code.PROTOCOL_ERROR),
    "a reset of three bytes": (frame(RST_STREAM, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR),
    "settings of a stream": (frame(SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "a half setting": (frame(SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
    "an acknowledgement with settings": (frame(SETTINGS, 1, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "push": (setting(2, 2), Code.PROTOCOL_ERROR),
    "a window of 2 GiB": (setting(4, 2**31), Code.FLOW_CONTROL_ERROR),
    "small frames": (setting(5, 16_383), Code.PROTOCOL_ERROR),
    "large frames": (setting(5, 2**24), Code.PROTOCOL_ERROR),
    "a ping of seven bytes": (frame(PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "a ping on a stream": (frame(PING, 0, 1, bytes(8)), Code.FRAME_SIZE_ERROR),
    "goodbye on a stream": (frame(GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "a window opened by nothing": (frame(WINDOW_UPDATE, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
    "a window opened too far": (
        frame(WINDOW_UPDATE, 0, 0, NUMBER.pack(2**31 - 1)),
        Code.FLOW_CONTROL_ERROR,
    ),
    "a window of a stream to come": (frame(WINDOW_UPDATE, 0, 9, NUMBER.pack(1)), Code.PROTOCOL_ERROR),
    "a window in three bytes": (frame(WINDOW_UPDATE, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR),
    "all streams' windows too far": (
        frame(WINDOW_UPDATE, 0, 1, NUMBER.pack(2**30)) + setting(4, 2**31 - 1),
        Code.FLOW_CONTROL_ERROR,
    ),
    "more data than the window": (frame(DATA, 0, 1, bytes(16_000)) * 70, Code.FLOW_CONTROL_ERROR),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_the_connection_is_named_and_ends_it(client: Far, fault: str) -> None:
    raw, code = FAULTS[fault]
    client.send(raw)
    await client.ended(code)


STREAM_FAULTS: dict[str, tuple[bytes, Code]] = {
    "a window opened by nothing": (frame(WINDOW_UPDATE, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "a window opened too far": (
        frame(WINDOW_UPDATE, 0, 1, NUMBER.pack(2**31 - 1)),
        Code.FLOW_CONTROL_ERROR,
    ),
    "headers in the middle": (frame(HEADERS, END_HEADERS, 1, BLOCK), Code.PROTOCOL_ERROR),
    "a path among trailers": (frame(HEADERS, END_HEADERS | END_STREAM, 1, BLOCK), Code.PROTOCOL_ERROR),
    "data after the end": (
        frame(DATA, END_STREAM, 1) + frame(DATA, 0, 1, message(b"x")),
        Code.STREAM_CLOSED,
    ),
}


@pytest.mark.parametrize("fault", STREAM_FAULTS)
async def test_a_fault_of_a_stream_ends_only_that(client: Far, fault: str) -> None:
    raw, code = STREAM_FAULTS[fault]
    client.send(raw)
    await settled(lambda: client.reset() is code)
    await settled(lambda: client.connection.streams.running == 0)
    client.ask(3, ends=True)
    await settled(lambda: bool(client.trailers(3)))


BAD_HEADERS = [
    [(name, value) for name, value in ASK if name != ":path"],
    [*ASK, (":path", "/late")],
    [(":path", "/twice"), *ASK],
    [(":unheard-of", "x"), *ASK],
    [*ASK, ("connection", "close")],
    [*ASK, ("te", "chunked")],
    [*ASK, ("Upper", "x")],
    [*ASK, ("x", "a\nb")],
    [*ASK, ("", "x")],
    [*ASK, ("grpc-timeout", "soon")],
    [(name, "east" if name == ":path" else value) for name, value in ASK],
]


@pytest.mark.parametrize("headers", BAD_HEADERS, ids=range(len(BAD_HEADERS)))
async def test_headers_that_are_none_begin_no_call(client: Far, headers: list[tuple[str, str]]) -> None:
    client.headers(3, headers)
    await settled(lambda: client.reset(3) is Code.PROTOCOL_ERROR)
    assert list(client.connection.streams) == [1]


async def test_headers_beyond_what_was_said_to_be_taken_begin_no_call(client: Far) -> None:
    client.headers(3, [*ASK, *((f"x{number}", "y" * 1000) for number in range(17))])
    await settled(lambda: client.reset(3) is Code.ENHANCE_YOUR_CALM)


FLOODS: dict[str, tuple[Callable[[int], bytes], str]] = {
    "continuations": (lambda n: frame(CONTINUATION if n else HEADERS, 0, 3), "headers without end"),
    "long headers": (
        lambda n: frame(CONTINUATION if n else HEADERS, 0, 3, b"\0\1a\x7f\xf0\x01" + b"x" * 15_000),
        "headers without end",
    ),
    "resets": (
        lambda n: frame(HEADERS, END_HEADERS, 2 * n + 3, BLOCK) + frame(RST_STREAM, 0, 2 * n + 3, bytes(4)),
        "too many resets",
    ),
    "calls": (lambda n: frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 3, b"\x82"), "too many calls"),
    "pings": (lambda n: frame(PING, 0, 0, bytes(8)), "too many pings"),
    "settings": (lambda n: frame(SETTINGS, 0, 0), "too many settings"),
    "acknowledgements": (lambda n: frame(SETTINGS, 1, 0), "too many settings"),
    "window updates": (lambda n: frame(WINDOW_UPDATE, 0, 0, NUMBER.pack(1)), "too many window updates"),
    "empty data": (lambda n: frame(DATA, 0, 1), "too many frames that say nothing"),
    "priorities": (lambda n: frame(PRIORITY, 0, 1, bytes(5)), "too many frames that say nothing"),
    "the unknown": (lambda n: frame(99, 0, 1, bytes(5)), "too many frames that say nothing"),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_ends_the_connection(client: Far, flood: str) -> None:
    piece, words = FLOODS[flood]
    for number in range(0, 40_000, 200):
        if not client.is_open or client.connection.is_closed:
            break
        client.send(b"".join(piece(one) for one in range(number, number + 200)))
    await client.ended(Code.ENHANCE_YOUR_CALM, words)


async def test_headers_that_grow_when_they_are_decompressed_end_the_connection(client: Far) -> None:
    client.send(frame(HEADERS, END_HEADERS, 3, BOMB + b"\xbe" * 100))
    await client.ended(Code.ENHANCE_YOUR_CALM, "headers")


async def test_who_makes_us_answer_and_does_not_read_is_disconnected(
    client: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "MOST_BYTES", 10_000)
    client.wire.pause_writing()
    client.send(*(frame(PING, 0, 0, bytes(8)) for _ in range(1000)))
    await client.ended(Code.ENHANCE_YOUR_CALM, "nobody reads")


async def test_messages_that_nobody_reads_are_not_taken_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "HELD_BYTES", 100_000)

    async with far(lambda call: call.read()) as connect:  # type: ignore[arg-type,return-value]
        client = connect()
        client.begin()
        for stream in range(1, 20, 2):
            client.ask(stream)
            client.send(frame(DATA, 0, stream, message(bytes(15_000))[:15_000]))  # never complete
        await client.ended(Code.ENHANCE_YOUR_CALM, "faster than they can be served")


async def test_what_came_on_a_stream_that_is_over_is_not_held(client: Far) -> None:
    client.send(frame(DATA, 0, 1, message(bytes(100))[:50]))
    assert client.connection.held == 50
    client.send(frame(RST_STREAM, 0, 1, bytes(4)))
    assert client.connection.held == 0


async def test_a_client_that_does_not_take_its_goodbye_is_cut_off(
    client: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "CLOSE_SECONDS", 0.05)
    client.socket.lingers = True
    client.send(frame(PING, 0, 1, bytes(8)))
    assert client.is_open
    await client.ended(Code.FRAME_SIZE_ERROR)


async def test_streams_beyond_the_most_are_refused_also_while_cancelled_ones_still_run(
    client: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MAX_STREAMS", 3)
    for stream in (3, 5):
        client.ask(stream)
        client.send(frame(RST_STREAM, 0, stream, bytes(4)))
    client.ask(7)
    await settled(lambda: client.reset(7) is Code.REFUSED_STREAM)
    await settled(lambda: client.connection.streams.running == 1)
    client.ask(9, ends=True)
    await settled(lambda: bool(client.trailers(9)))


NOT_HTTP2 = [b"GET / HTTP/1.1\r\n\r\n", http2.PREFACE + frame(PING, 0, 0, bytes(8)), b"\x16"]


@pytest.mark.parametrize("said", NOT_HTTP2, ids=["HTTP/1", "no settings", "TLS"])
async def test_what_is_not_http2_is_told_so(connect: Connect, said: bytes) -> None:
    client = connect()
    client.send(said)
    await client.ended(Code.PROTOCOL_ERROR)


async def test_who_says_nothing_is_cut_off(connect: Connect) -> None:
    silent, idle, gone = connect(), connect(), connect()
    for client in (idle, gone):
        client.begin()
    began = silent.wire.opened_at
    silent.connection.check(began + keepalive.BEGIN_SECONDS + 1)
    await silent.ended(Code.NO_ERROR, "no settings")
    asked = began + keepalive.IDLE_SECONDS + 1
    for client in (idle, gone):
        client.connection.check(asked)
        await settled(lambda client=client: bool(client.of(PING, 0)))  # type: ignore[misc]
    idle.send(frame(PING, 1, 0, idle.of(PING, 0)[0][3]))
    for client in (idle, gone):
        client.connection.check(asked + keepalive.ANSWER_SECONDS + 1)
    await gone.ended(Code.NO_ERROR, "no answer")
    assert idle.is_open


async def test_an_answer_that_nobody_takes_is_dropped(connect: Connect) -> None:
    client = connect()
    client.begin(SETTING.pack(4, 0))
    client.ask()
    client.tell(1, b"x")
    await settled(lambda: client.connection.streams[1].progress_at is not None)
    since = client.connection.streams[1].progress_at
    assert since is not None
    client.send(frame(PING, 1, 0, bytes(8)))
    client.connection.check(since + SILENT_SECONDS + 1)
    await settled(lambda: client.reset() is Code.CANCEL)
    await settled(lambda: client.connection.streams.running == 0)


async def test_connections_are_bounded_and_more_so_those_nobody_knows(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    clients = [connect() for _ in range(3)]
    assert [client.is_open for client in clients] == [True, True, False]
