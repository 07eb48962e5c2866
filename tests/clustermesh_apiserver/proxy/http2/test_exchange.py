"""The client's side of one call: however a server cuts what it says, messages come whole and in order."""

from __future__ import annotations

from collections.abc import Iterable

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermesh_apiserver.proxy.http2 import frame
from clustermesh_apiserver.proxy.http2.exchange import STREAM, WINDOW, Ending, Exchange
from clustermesh_apiserver.proxy.http2.frame import ConnectionFault, Frame, Reader, StreamFault
from clustermesh_apiserver.proxy.http2.settings import Settings
from clustermesh_apiserver.proxy.http2.window import DEFAULT
from clustermesh_apiserver.proxy.status import Ended
from tests.clustermesh_apiserver.proxy.http2.far import message

ANSWER = [(":status", "200"), ("content-type", "application/grpc")]
FAULTS = (ConnectionFault, StreamFault, Ended)


class Server:
    """Writes frames with a compression table that goes on from block to block, as etcd's does."""

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()

    def headers(self, headers: list[tuple[str, str]], *, last: bool = False, cut: int = 0) -> bytes:
        block = self._encoder.encode(headers)
        flags = frame.END_STREAM if last else 0
        if not cut:
            return frame.write(frame.HEADERS, flags | frame.END_HEADERS, STREAM, block)
        return frame.write(frame.HEADERS, flags, STREAM, block[:cut]) + frame.write(
            frame.CONTINUATION, frame.END_HEADERS, STREAM, block[cut:]
        )


def data(raw: bytes, most: int = 16_384) -> bytes:
    return b"".join(
        frame.write(frame.DATA, 0, STREAM, raw[at : at + most]) for at in range(0, len(raw), most)
    )


def opened() -> tuple[Exchange, list[Frame]]:
    exchange = Exchange("/etcdserverpb.Watch/Watch", "etcd:2379", [("hasleader", "true")])
    return exchange, list(Reader().feed(exchange.take()))


def sent(exchange: Exchange) -> list[Frame]:
    return list(Reader(expects_preface=False).feed(exchange.take()))


def asked(frames: Iterable[Frame]) -> bytes:
    return b"".join(payload for kind, _, _, payload in frames if kind == frame.DATA)


def test_it_opens_with_settings_and_the_call() -> None:
    _, (settings, window, headers) = opened()
    assert Settings().changed(settings[3]).initial_window == WINDOW
    assert window[0] == frame.WINDOW_UPDATE and frame.number(window[3]) == WINDOW - DEFAULT
    said = dict(hpack.Decoder().decode(headers[3]))
    assert said[":path"] == "/etcdserverpb.Watch/Watch" and said["hasleader"] == "true"
    assert not headers[1] & frame.END_STREAM


@given(
    st.lists(st.binary(max_size=50), max_size=20),
    st.integers(1, 60),
    st.lists(st.integers(1, 90)),
    st.integers(0, 9),
)
def test_messages_come_whole_however_they_are_cut(
    messages: list[bytes], most: int, cuts: list[int], head: int
) -> None:
    server = Server()
    raw = server.headers(ANSWER, cut=head) + data(b"".join(map(message, messages)), most)
    raw += server.headers(
        [*ANSWER[1:], ("grpc-status", "14"), ("grpc-message", "no%20leader")], last=True, cut=head
    )
    exchange, _ = opened()
    heard = list[bytes]()
    for cut in [*cuts, len(raw)]:
        heard += exchange.hear(raw[:cut])
        raw = raw[cut:]
    assert heard == messages
    assert exchange.ending is not None
    assert (exchange.ending.code, exchange.ending.details) == (14, "no leader")


def test_etcds_settings_and_pings_are_answered() -> None:
    exchange, _ = opened()
    ping = frame.write(frame.PING, 0, 0, b"12345678")
    assert not list(
        exchange.hear(frame.write(frame.SETTINGS, 0, 0) + ping + frame.write(frame.SETTINGS, 1, 0))
    )
    assert sent(exchange) == [(frame.SETTINGS, frame.ACK, 0, b""), (frame.PING, frame.ACK, 0, b"12345678")]


def test_the_windows_are_opened_again_by_all_that_came() -> None:
    exchange, _ = opened()
    given_back = {0: 0, STREAM: 0}
    for _ in range(3 * WINDOW // 16_000):
        assert list(exchange.hear(data(message(bytes(15_995))))) == [bytes(15_995)]
        for kind, _, stream, payload in sent(exchange):
            assert kind == frame.WINDOW_UPDATE
            given_back[stream] += frame.number(payload)
    assert given_back[0] == given_back[STREAM] > 2 * WINDOW


def test_what_the_windows_do_not_let_out_waits_for_them() -> None:
    exchange, _ = opened()
    large = bytes(range(256)) * 300
    exchange.ask(large)
    first = asked(sent(exchange))
    assert len(first) == DEFAULT
    list(exchange.hear(frame.window_update(0, 9000)))
    assert not sent(exchange), "the stream's own window is still shut"
    list(exchange.hear(frame.window_update(STREAM, 20_000)))
    second = asked(sent(exchange))
    assert len(second) == 9000
    list(exchange.hear(frame.window_update(0, 100_000)))
    assert first + second + asked(sent(exchange)) == message(large)


def test_a_smaller_initial_window_counts_for_what_was_sent_before() -> None:
    exchange, _ = opened()
    exchange.ask(bytes(1000))
    assert asked(sent(exchange))
    list(exchange.hear(frame.write(frame.SETTINGS, 0, 0, b"\0\4" + (500).to_bytes(4, "big"))))
    exchange.take()
    exchange.ask(b"more")
    assert not sent(exchange)
    list(exchange.hear(frame.window_update(STREAM, 600)))
    assert asked(sent(exchange)) == message(b"more")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (Server().headers([*ANSWER, ("grpc-status", "0")], last=True), 0),
        (Server().headers([(":status", "503"), ("content-type", "text/html")]), 14),
        (Server().headers(ANSWER, last=True), 14),
        (frame.reset(STREAM, frame.Code.CANCEL), 14),
        (frame.goaway(0, frame.Code.NO_ERROR), 14),
        (frame.write(frame.DATA, frame.END_STREAM, STREAM), 14),
    ],
)
def test_every_end_is_noticed(raw: bytes, code: int) -> None:
    exchange, _ = opened()
    assert not list(exchange.hear(raw))
    assert isinstance(exchange.ending, Ending) and exchange.ending.code == code


def test_a_server_that_goes_away_later_still_serves_this_stream() -> None:
    exchange, _ = opened()
    raw = frame.goaway(2**31 - 1, frame.Code.NO_ERROR) + Server().headers(ANSWER) + data(message(b"still"))
    assert list(exchange.hear(raw)) == [b"still"]
    assert exchange.ending is None


@pytest.mark.parametrize(
    "raw",
    [
        frame.write(frame.HEADERS, 0, STREAM, b"\x88") + frame.write(frame.PING, 0, 0, bytes(8)),
        frame.write(frame.DATA, frame.PADDED, STREAM, b"\x09"),
        b"\xff\xff\xff" + bytes(6),
        data(b"\x01" + bytes(4)),
        frame.window_update(STREAM, 0),
    ],
    ids=["interrupted", "padding", "too long", "compressed", "opened by nothing"],
)
def test_nonsense_is_a_fault(raw: bytes) -> None:
    exchange, _ = opened()
    with pytest.raises(FAULTS):
        list(exchange.hear(raw))


@given(
    st.binary(max_size=200)
    | st.builds(
        frame.write, st.integers(0, 9), st.integers(0, 255), st.integers(0, 2), st.binary(max_size=30)
    )
)
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    exchange, _ = opened()
    try:
        heard = list(exchange.hear(raw))
    except FAULTS as fault:
        assert str(fault) or isinstance(fault, FAULTS)
    else:
        assert all(isinstance(one, bytes) for one in heard)
