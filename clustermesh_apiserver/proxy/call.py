"""A call of a client's, as whatever carries it shows it to the handlers: messages are bytes.

This is all that the handlers (`server`, `watch`, `relay`) know of the transport, and the transport
(`http2`) knows nothing of etcd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from clustermesh_apiserver.proxy.caller import Caller
from clustermesh_apiserver.proxy.status import Metadata


def nobody() -> None:
    """What `Call.on_writable` is while nobody waits."""


class Call(Protocol):
    """One call. When its client gives it up, the task that handles it is cancelled."""

    on_writable: Callable[[], None]

    @property
    def path(self) -> str: ...

    @property
    def caller(self) -> Caller: ...

    @property
    def metadata(self) -> Metadata: ...

    @property
    def deadline(self) -> float | None:
        """When the client does not want an answer any more, by the loop's clock; None: never."""

    async def read(self) -> bytes | None:
        """The next message; None: the client sends no more. Raises Ended when it sends nonsense."""

    def may_send(self) -> bool:
        """Whether all that was sent is on its way. If not, `on_writable` is called once when it is."""

    def send(self, message: bytes) -> None:
        """Queue a message; one at a time: ask `may_send` before."""

    async def write(self, message: bytes) -> None:
        """Send, and wait until the whole message is on its way."""
