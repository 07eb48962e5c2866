"""The set of peers, following a configuration directory (spec 3.1).

A file that contains `endpoints:` is a peer and its name is the peer's name. A changed file reconnects
without forgetting anything; a removed one drains the peer. One peer's trouble stays its own: each has
its own task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path

from aiokit.directory import changes
from mesh.addressing import parse_cluster_name
from mesh.errors import MeshError
from peering.peer import Peer

log = logging.getLogger(__name__)

MARK = b"endpoints:"  # what makes a file a peer's, and not a certificate


class Peers:
    """Runs one `Peer` for each configuration. `known` is None until the directory was read once."""

    def __init__(
        self,
        directory: Path,
        own_name: str,
        make: Callable[[str], Peer],
        changed: Callable[[], None],
        removed: Callable[[Peer], None] = Peer.drain,
        *,
        rules: Callable[[Mapping[str, bytes]], bool] = lambda _files: True,
    ) -> None:
        """`changed` is called after every change of the set, the first reading included.

        `rules` sees all files first, and says whether they may be followed.
        """
        self._rules = rules
        self._directory = directory
        self._own_name = own_name
        self._make = make
        self._changed = changed
        self._removed = removed
        self._peers: dict[str, Peer] = {}
        self._contents: dict[str, bytes] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._refused: frozenset[str] = frozenset()
        self.is_read = False

    @property
    def peers(self) -> Mapping[str, Peer]:
        return dict(sorted(self._peers.items()))

    async def run(self, source: Callable[[Path], AsyncGenerator[dict[str, bytes], None]] = changes) -> None:
        async with asyncio.TaskGroup() as group, aclosing(source(self._directory)) as readings:
            async for files in readings:
                if not self._rules(files):
                    continue
                await self._follow(group, self._configurations(files))
                self.is_read = True
                self._changed()

    def _configurations(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        found = {n: c for n, c in files.items() if MARK in c and n != self._own_name}
        refused = frozenset(name for name in found if not _is_cluster_name(name))
        for name in refused - self._refused:
            log.error("configuration %s is ignored: its name is no cluster name", name)
        self._refused = refused
        return {name: content for name, content in found.items() if name not in refused}

    async def _follow(self, group: asyncio.TaskGroup, wanted: Mapping[str, bytes]) -> None:
        for name in sorted(self._contents.keys() - wanted.keys()):
            log.info("peer %s was removed from the configuration", name)
            await self._stop(name)
            del self._contents[name]
            self._removed(self._peers.pop(name))
        for name, content in wanted.items():
            if self._contents.get(name) == content:
                continue
            await self._stop(name)
            if name not in self._peers:
                self._peers[name] = self._make(name)
            self._contents[name] = content
            self._tasks[name] = group.create_task(self._peers[name].run(content), name=f"peer/{name}")

    async def _stop(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


def _is_cluster_name(name: str) -> bool:
    try:
        parse_cluster_name(name)
    except MeshError:
        return False
    return True
