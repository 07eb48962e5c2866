"""One client's connection: its frames, in the order in which they may come, turned into calls.

Errors of the whole connection are said in a GOAWAY frame and end it; those of one stream end that stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from clustermesh_apiserver.proxy.caller import Caller
from clustermesh_apiserver.proxy.http2 import frame, grpcheaders, headers, settings, window
from clustermesh_apiserver.proxy.http2.abuse import Budget, Cost
from clustermesh_apiserver.proxy.http2.frame import (
    END_HEADERS,
    END_STREAM,
    Code,
    ConnectionFault,
    StreamFault,
)
from clustermesh_apiserver.proxy.http2.keepalive import Keepalive
from clustermesh_apiserver.proxy.http2.sender import Sender, Wire
from clustermesh_apiserver.proxy.http2.stream import Stream
from clustermesh_apiserver.proxy.http2.streams import Streams
from clustermesh_apiserver.proxy.status import Status

RECEIVE_BYTES = 1 << 20  # of the connection's window: a burst of requests of many streams


class Connection:
    """`start` runs the handler of a new stream in a task, which it leaves in `stream.task`."""

    def __init__(self, wire: Wire, caller: Caller, start: Callable[[Connection, Stream], None]) -> None:
        self.streams = Streams()
        self._wire = wire
        self._caller = caller
        self._start = start
        self._now = asyncio.get_running_loop().time
        self._reader = frame.Reader()
        self._blocks = headers.Blocks()
        self._decoder = headers.decoder()
        self._budget = Budget()
        self._sender = Sender(wire.write, self._budget)
        self._receiving = window.Receiving(RECEIVE_BYTES)
        self._keepalive = Keepalive(self._now())
        self._has_settings = False
        self._is_draining = False
        self.is_closed = False
        self._sender.put(settings.ours() + frame.window_update(0, RECEIVE_BYTES - window.DEFAULT))

    @property
    def held(self) -> int:
        """Bytes received that no handler has read."""
        return self._sender.held

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        self._keepalive.heard(self._now())
        try:
            for kind, flags, stream, payload in self._reader.feed(data):
                self._frame(kind, flags, stream, payload)
                self._sender.require_read()
                if self.is_closed:
                    return
        except ConnectionFault as fault:
            self._hang_up(fault.code, str(fault))

    def lost(self) -> None:
        """The socket is gone: nobody waits for any answer."""
        self.is_closed = True
        self.streams.forget_all()
        self._sender.close()

    def pause(self) -> None:
        self._sender.pause()

    def resume(self) -> None:
        self._sender.resume()

    def finish(self, stream: Stream, status: Status) -> None:
        """The handler is done."""
        if stream.is_closed:
            return
        stream.closing(status)
        self.streams.drop(stream)
        self._end_if_drained()

    def drain(self) -> None:
        """Take no new calls; end when those that run are done."""
        if not self._is_draining and not self.is_closed:
            self._is_draining = True
            self._sender.put(frame.goaway(self.streams.last, Code.NO_ERROR, "the server ends"))
        self._end_if_drained()

    def end(self) -> None:
        """Now, whatever runs."""
        self._hang_up(Code.NO_ERROR, "the server ends")

    def check(self, now: float) -> None:
        """To be called again and again: who says nothing, or takes nothing, is disconnected."""
        try:
            if (ping := self._keepalive.due(now, has_begun=self._has_settings)) is not None:
                self._sender.put(ping)
        except ConnectionFault as fault:
            return self._hang_up(fault.code, str(fault))
        for number in self.streams.silent(now):
            self._reset(number, Code.CANCEL)
        return None

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Raises ConnectionFault."""
        if self._blocks.stream and kind != frame.CONTINUATION:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame amid headers")
        if not self._has_settings and (kind != frame.SETTINGS or flags & frame.ACK):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "settings come first")
        handle = _HANDLERS.get(kind)
        if handle is None:  # the standard wants unknown kinds ignored
            return self._budget.spend(Cost.IDLE, self._now())
        try:
            handle(self, flags, stream, payload)
        except StreamFault as fault:
            if not stream:
                raise ConnectionFault(fault.code, str(fault)) from None
            self._reset(stream, fault.code)
        return None

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        self.streams.require_begun(number)
        self._receiving.take(len(payload))
        content, ends = frame.unpadded(flags, payload), bool(flags & END_STREAM)
        if not content and not ends:
            self._budget.spend(Cost.IDLE, self._now())
        self._open_window(len(payload))
        stream = self.streams.get(number)
        if stream is None:  # it is over, and the client did not know yet
            return
        if stream.has_ended:
            raise StreamFault(Code.STREAM_CLOSED, "data after the end")
        stream.feed(content, len(payload), ends=ends)

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if number % 2 == 0:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a client's streams have odd numbers")
        self._blocks.begin(number, flags, payload)
        self._finish_block(flags, number)

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        self._blocks.add(number, payload)
        self._finish_block(flags, number)

    def _finish_block(self, flags: int, number: int) -> None:
        if not flags & END_HEADERS:
            return
        block, ends = self._blocks.finish()
        decoded = headers.decode(
            self._decoder, block
        )  # also of streams that are gone: it keeps the table right
        stream = self.streams.get(number)
        if stream is not None:
            if stream.has_ended or not ends:
                raise StreamFault(Code.PROTOCOL_ERROR, "headers where there are none")
            headers.trailers(decoded)
            stream.end()
        elif number > self.streams.last:
            self._begin(number, decoded, ends=ends)
        else:
            self._budget.spend(Cost.IDLE, self._now())

    def _begin(self, number: int, decoded: list[headers.Header], *, ends: bool) -> None:
        self._budget.spend(Cost.STREAM, self._now())
        self.streams.last = number
        if self._is_draining or self.streams.running >= settings.MAX_STREAMS:
            raise StreamFault(Code.REFUSED_STREAM, "no further stream")
        request = headers.request(decoded)
        if refusal := grpcheaders.http_refusal(request):
            self._sender.headers(number, grpcheaders.refused(refusal), END_HEADERS | END_STREAM)
            if not ends:
                self._sender.put(frame.reset(number, Code.NO_ERROR))
            return
        seconds = grpcheaders.timeout(request)
        deadline = None if seconds is None else self._now() + seconds
        stream = self.streams[number] = Stream(
            number,
            request,
            caller=self._caller,
            sender=self._sender,
            window=self._sender.settings.initial_window,
            deadline=deadline,
        )
        if ends:
            stream.end()
        self.streams.running += 1
        self._start(self, stream)

    def ran(self) -> None:
        """A handler has ended."""
        self.streams.running -= 1
        self._end_if_drained()

    def _priority(self, _flags: int, number: int, payload: bytes) -> None:
        self._budget.spend(Cost.IDLE, self._now())
        if len(payload) != 5 or not number:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a priority has a stream and five bytes")

    def _rst_stream(self, _flags: int, number: int, payload: bytes) -> None:
        self.streams.require_begun(number)
        frame.number(payload)
        self._budget.spend(Cost.RESET, self._now())
        self.streams.forget(number)
        self._end_if_drained()

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "settings of one stream")
        if flags & frame.ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an acknowledgement says nothing more")
            return self._budget.spend(Cost.SETTINGS, self._now())
        self._budget.spend(Cost.SETTINGS, self._now())
        new = self._sender.settings.changed(payload)
        by = new.initial_window - self._sender.settings.initial_window
        self._has_settings = True
        self._sender.use(new)
        self._sender.put(frame.write(frame.SETTINGS, frame.ACK, 0))
        if by:
            self.streams.resize(by)
            self._sender.run()
        return None

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a ping has no stream and eight bytes")
        self._budget.spend(Cost.PING, self._now())
        if not flags & frame.ACK:
            self._sender.put(frame.write(frame.PING, frame.ACK, 0, payload))

    def _goaway(self, _flags: int, number: int, _payload: bytes) -> None:
        """The client begins no more calls; those that run go on."""
        self._budget.spend(Cost.IDLE, self._now())
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "goodbye on one stream")

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        self._budget.spend_update(self._now())
        by = frame.number(payload)
        if not number:
            self._sender.window = window.opened(self._sender.window, by)
            return self._sender.run()
        self.streams.require_begun(number)
        stream = self.streams.get(number)
        if stream is not None:
            stream.window = window.opened(stream.window, by)
            stream.opened()
            self._sender.run()
        return None

    def _push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "clients do not push")

    def _open_window(self, used: int) -> None:
        if by := self._receiving.give_back(used):
            self._sender.put(frame.window_update(0, by))

    def _reset(self, number: int, code: Code) -> None:
        """End one stream."""
        self._sender.put(frame.reset(number, code))
        self.streams.forget(number)
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._is_draining and self.streams.is_idle and not self.is_closed:
            self.is_closed = True
            self._sender.last()
            self._wire.close()

    def _hang_up(self, code: Code, text: str) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self.streams.forget_all()
        self._sender.last(frame.goaway(self.streams.last, code, text))
        self._wire.close()


_HANDLERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    frame.DATA: Connection._data,
    frame.HEADERS: Connection._headers,
    frame.PRIORITY: Connection._priority,
    frame.RST_STREAM: Connection._rst_stream,
    frame.SETTINGS: Connection._settings,
    frame.PUSH_PROMISE: Connection._push_promise,
    frame.PING: Connection._ping,
    frame.GOAWAY: Connection._goaway,
    frame.WINDOW_UPDATE: Connection._window_update,
    frame.CONTINUATION: Connection._continuation,
}
