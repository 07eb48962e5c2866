"""Which peers our KVStoreMesh has lost: an agent that reads its copies cannot tell from its own connection.

Asked over HTTP in our own cluster. The answer only decides whom to doubt, never what is true: no answer, or a
wrong one, costs probes at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

import aiohttp
import msgspec

log = logging.getLogger(__name__)

PORT = 9881  # KVStoreMesh's read-only HTTP server
ASK_SECONDS = 3.0
ASKS_PER_SECOND = 100.0  # of all agents of a cluster together
TIMEOUT_SECONDS = 2.0
MAX_BYTES = 1 << 20


class _Cluster(msgspec.Struct):
    name: str = ""
    ready: bool = False


class MirrorWatch:
    """`run` is its task. `addresses` are KVStoreMesh's, none while nobody reads copies; `nodes`: who asks."""

    def __init__(
        self,
        addresses: Callable[[], Collection[str]],
        nodes: Callable[[], int],
        *,
        port: int = PORT,
        ask_seconds: float = ASK_SECONDS,
    ) -> None:
        self._addresses = addresses
        self._nodes = nodes
        self._port = port
        self._ask_seconds = ask_seconds
        self.lost: frozenset[str] = frozenset()
        self.asks = 0

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                said = [await self._ask(session, address) for address in self._addresses()]
                self.asks += 1
                answers = [each for each in said if each is not None]
                if answers:  # of several one that is connected is enough
                    self.lost = frozenset.intersection(*answers)
                elif not said:
                    self.lost = frozenset()
                await asyncio.sleep(max(self._ask_seconds, self._nodes() / ASKS_PER_SECOND))

    async def _ask(self, session: aiohttp.ClientSession, address: str) -> frozenset[str] | None:
        """The clusters that are not ready; None when there is no answer."""
        try:
            async with session.get(f"http://{address}:{self._port}/v1/cluster") as answer:
                body = await answer.content.read(MAX_BYTES)
            clusters = msgspec.json.decode(body, type=list[_Cluster])
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError) as error:
            log.debug("KVStoreMesh at %s does not say how its peers are: %s", address, error)
            return None
        return frozenset(each.name for each in clusters if not each.ready)
