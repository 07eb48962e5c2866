"""One call of ours to etcd, on a connection of its own: bytes in, messages out. Pure.

The client's side of HTTP/2 as far as a stream of messages takes it (RFC 9113). What is to be sent next is for
the caller to `take` and to write in that order; one thread may ask and another hear, under a lock.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

import hpack

from clustermesh_apiserver.proxy.http2 import frame
from clustermesh_apiserver.proxy.http2.frame import Code, ConnectionFault, Frame, Reader
from clustermesh_apiserver.proxy.http2.headers import Blocks, Header, decode, decoder
from clustermesh_apiserver.proxy.http2.message import Messages
from clustermesh_apiserver.proxy.http2.settings import Settings
from clustermesh_apiserver.proxy.http2.window import DEFAULT, LARGEST, Receiving, opened

WINDOW = 4 << 20  # bytes that etcd may send ahead; more would only wait in the kernel's buffers
STREAM = 1  # the only one of its connection
_SETTING = struct.Struct(">HI")
_ENABLE_PUSH, _INITIAL_WINDOW = 2, 4
_UNAVAILABLE = 14  # gRPC's status of a server that is away


@dataclass(frozen=True, slots=True)
class Ending:
    """What the server said last: gRPC's status as a number, its text, and the other trailers."""

    code: int
    details: str
    trailing: tuple[Header, ...] = ()


class Exchange:
    """`ending` is None until the server has ended the call. After a fault the connection is of no use."""

    def __init__(self, path: str, authority: str, metadata: Iterable[Header]) -> None:
        self.ending: Ending | None = None
        self._reader = Reader(expects_preface=False)
        self._blocks = Blocks()
        self._decoder = decoder()
        self._messages = Messages(LARGEST)
        self._received = Receiving(WINDOW)
        self._settings = Settings()
        self._may_send = {0: DEFAULT, STREAM: DEFAULT}  # the connection's window and the stream's
        self._asked = bytearray()  # what the windows do not let out yet
        self._out = bytearray(_opening(path, authority, metadata))

    def ask(self, message: bytes) -> None:
        self._asked += frame.message_head(len(message)) + message

    def take(self) -> bytes:
        """What may be sent now; it counts as sent."""
        while self._asked and (room := min(*self._may_send.values(), self._settings.max_frame)) > 0:
            piece = bytes(self._asked[:room])
            del self._asked[:room]
            for stream in self._may_send:
                self._may_send[stream] -= len(piece)
            self._out += frame.write(frame.DATA, 0, STREAM, piece)
        taken = bytes(self._out)
        self._out.clear()
        return taken

    def hear(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete now. Raises ConnectionFault, StreamFault and status.Ended."""
        for received in self._reader.feed(data):
            if self._blocks.stream and received[0] != frame.CONTINUATION:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "headers that are interrupted")
            if received[0] == frame.DATA:
                yield from self._data(received)
            else:
                self._control(received)
            if self.ending is not None:
                return

    def _data(self, received: Frame) -> Iterator[bytes]:
        _, flags, stream, payload = received
        self._received.take(len(payload))
        if by := self._received.give_back(len(payload)):
            self._out += frame.window_update(0, by) + frame.window_update(STREAM, by)
        if stream == STREAM:
            yield from self._messages.feed(frame.unpadded(flags, payload))
            if flags & frame.END_STREAM:
                self.ending = _without_status("the answer ends without a status")

    def _control(self, received: Frame) -> None:
        kind, flags, stream, payload = received
        match kind:
            case frame.HEADERS:
                self._blocks.begin(stream, flags, payload)
                self._finish(flags)
            case frame.CONTINUATION:
                self._blocks.add(stream, payload)
                self._finish(flags)
            case frame.SETTINGS if not flags & frame.ACK:
                before = self._settings.initial_window
                self._settings = self._settings.changed(payload)
                self._may_send[STREAM] += self._settings.initial_window - before
                self._out += frame.write(frame.SETTINGS, frame.ACK, 0)
            case frame.PING if not flags & frame.ACK:
                self._out += frame.write(frame.PING, frame.ACK, 0, payload)
            case frame.WINDOW_UPDATE if stream in self._may_send:
                self._may_send[stream] = opened(self._may_send[stream], frame.number(payload))
            case frame.RST_STREAM if stream == STREAM:
                self.ending = _without_status("the server reset the stream")
            case frame.GOAWAY if frame.number(payload[:4]) < STREAM:
                self.ending = _without_status("the server takes no streams")

    def _finish(self, flags: int) -> None:
        if not flags & frame.END_HEADERS:
            return
        block, ends_stream = self._blocks.finish()
        headers = decode(self._decoder, block)  # every one: what comes later may refer to it
        said = dict(headers)
        if ends_stream:
            self.ending = _ending(headers)
        elif said.get(":status", "200") != "200":
            self.ending = _without_status(f"the server answers with HTTP {said[':status']}")


def _opening(path: str, authority: str, metadata: Iterable[Header]) -> bytes:
    settings = _SETTING.pack(_ENABLE_PUSH, 0) + _SETTING.pack(_INITIAL_WINDOW, WINDOW)
    headers = [
        *((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority)),
        *(("te", "trailers"), ("content-type", "application/grpc")),
        *metadata,
    ]
    block = hpack.Encoder().encode(headers, huffman=False)
    return b"".join(
        [
            frame.PREFACE,
            frame.write(frame.SETTINGS, 0, 0, settings),
            frame.window_update(0, WINDOW - DEFAULT),
            frame.write(frame.HEADERS, frame.END_HEADERS, STREAM, block),
        ]
    )


def _ending(headers: list[Header]) -> Ending:
    said = dict(headers)
    code = said.get("grpc-status", "")
    if not code.isdecimal():
        return _without_status("the answer ends without a status")
    return Ending(int(code), unquote(said.get("grpc-message", "")), tuple(headers))


def _without_status(details: str) -> Ending:
    return Ending(_UNAVAILABLE, details)
