"""What is on disk of this node's endpoints and of the addresses that were given out.

A full disk refuses what is new. What has happened already is owed: it is written when there is room again.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from agent import endpoints as storage
from agent.endpoints import Stored
from agent.errors import StorageError
from agent.ipam import Pools
from agent.tables import Tables

log = logging.getLogger(__name__)


class EndpointRecord:
    """`unstored`: why what is on disk is not what is true; empty when it is."""

    def __init__(self, path: Path, tables: Tables, pools: Pools) -> None:
        self.unstored = ""
        self._path = path
        self._tables = tables
        self._pools = pools
        self._storing = asyncio.Lock()

    async def store(self) -> None:
        """One writer at a time, and each writes what is true when its turn comes. Raises StorageError."""
        async with self._storing:
            endpoints = tuple(self._tables.endpoints.values())
            ipv4, ipv6 = self._pools.ipv4, self._pools.ipv6
            stored = Stored(
                endpoints=endpoints,
                addresses=dict(ipv4.owners),
                addresses6=dict(ipv6.owners) if ipv6 else {},
            )
            try:
                await asyncio.to_thread(storage.store, self._path, stored)
            except OSError as error:
                self.unstored = f"endpoints cannot be stored: {error}"
                raise StorageError(self.unstored) from error
            self.unstored = ""

    async def store_or_owe(self) -> None:
        """For what has happened already and must not be held up; who calls again tries again."""
        try:
            await self.store()
        except StorageError as error:
            log.error("%s", error)
