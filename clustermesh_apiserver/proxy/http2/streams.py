"""The streams of one connection, by number: those that have begun and are not over."""

from __future__ import annotations

from clustermesh_apiserver.proxy.http2 import window
from clustermesh_apiserver.proxy.http2.frame import Code, ConnectionFault
from clustermesh_apiserver.proxy.http2.stream import Stream

SILENT_SECONDS = 120.0  # without taking anything of an answer: the answer is dropped


class Streams(dict[int, Stream]):
    """`running`: handlers, also of streams that are over. `last`: the highest number that the client has
    begun."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self.last = 0

    @property
    def is_idle(self) -> bool:
        return not self and not self.running

    def require_begun(self, number: int) -> None:
        """Raises ConnectionFault for a stream that nobody has begun."""
        if number > self.last or number % 2 == 0:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"stream {number} has not begun")

    def silent(self, now: float) -> list[int]:
        """Those whose client takes nothing of an answer."""
        return [
            number
            for number, stream in self.items()
            if stream.progress_at is not None and now - stream.progress_at > SILENT_SECONDS
        ]

    def resize(self, by: int) -> None:
        """The windows of all streams change with the client's settings. Raises ConnectionFault."""
        for stream in list(self.values()):
            stream.window += by
            if stream.window > window.LARGEST:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window of 2 GiB or more")
            stream.opened()

    def drop(self, stream: Stream) -> None:
        """The stream is over."""
        stream.close()
        self.pop(stream.number, None)

    def forget(self, number: int) -> None:
        """The stream is over, if it is there, and whoever handles it is told."""
        stream = self.get(number)
        if stream is not None:
            self.drop(stream)
            if stream.task is not None:
                stream.task.cancel()

    def forget_all(self) -> None:
        for number in list(self):
            self.forget(number)
