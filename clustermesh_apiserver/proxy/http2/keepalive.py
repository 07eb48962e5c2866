"""Is the other side still there? Pure: the time is passed in."""

from __future__ import annotations

from clustermesh_apiserver.proxy.http2.frame import PING, Code, ConnectionFault, write

BEGIN_SECONDS = 10.0  # from the connection to the client's settings
IDLE_SECONDS = 30.0  # without a word, then it is asked
ANSWER_SECONDS = 20.0  # for any word of the client's after that
_PING = write(PING, 0, 0, b"keepalve")


class Keepalive:
    __slots__ = ("_asked_at", "_began", "_heard_at")

    def __init__(self, now: float) -> None:
        self._began = self._heard_at = now
        self._asked_at: float | None = None

    def heard(self, now: float) -> None:
        """Something has come, whatever it was."""
        self._heard_at = now
        self._asked_at = None

    def due(self, now: float, *, has_begun: bool) -> bytes | None:
        """A ping to send now. Raises ConnectionFault when the client is to be given up."""
        if not has_begun and now - self._began > BEGIN_SECONDS:
            raise ConnectionFault(Code.NO_ERROR, "no settings in time")
        if self._asked_at is not None:
            if now - self._asked_at > ANSWER_SECONDS:
                raise ConnectionFault(Code.NO_ERROR, "no answer to a ping")
            return None
        if now - self._heard_at <= IDLE_SECONDS:
            return None
        self._asked_at = now
        return _PING
