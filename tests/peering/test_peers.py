"""The configuration directory decides which peers there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from aiokit.directory import changes
from aiokit.wait import eventually
from kvstore.memory import MemoryBackend
from peering.clusterids import ClusterIDs
from peering.peer import Peer
from peering.peers import Peers
from tests.agent.peerdata import FILE, PeerData
from tests.agent.peering import Peering
from tests.agent.values import tables

WEST, NORTH = PeerData(), PeerData(name="north", id=3, node_ip="198.18.3.11", ips=("10.3.1.5",))


class Directory:
    """Peers following a real directory, with an in-memory etcd behind each name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables = tables()
        self.ids = ClusterIDs(hold_down=0.0)
        self.stores = {"west": MemoryBackend(), "north": MemoryBackend()}
        self.peerings: dict[str, Peering] = {}
        self.changes = 0
        self.peers = Peers(path, "east", self._make, self._changed)

    def _make(self, name: str) -> Peer:
        store = self.stores.setdefault(name, MemoryBackend())
        self.peerings[name] = Peering(store, self.tables, name=name, ids=self.ids)
        return self.peerings[name].peer

    def _changed(self) -> None:
        self.changes += 1

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as group:
            source = lambda path: changes(path, interval=0.02)  # noqa: E731
            task = group.create_task(self.peers.run(source), name="peers under test")
            yield
            task.cancel()

    def is_ready(self, name: str) -> bool:
        return name in self.peerings and self.peerings[name].is_ready


async def test_files_that_say_endpoints_are_peers_and_nothing_else_is(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    await WEST.publish(directory.stores["west"])
    for name in ("west", "east", "Bad_Name", "client.crt"):
        (tmp_path / name).write_bytes(FILE if name != "client.crt" else b"a certificate")
    async with directory.running():
        await eventually(lambda: directory.is_ready("west"))
        assert list(directory.peers.peers) == ["west"]


async def test_the_set_is_known_once_the_directory_was_read_even_if_it_is_missing(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "missing")
    assert not directory.peers.is_read
    async with directory.running():
        await eventually(lambda: directory.changes == 1)
        assert directory.peers.is_read


async def test_a_changed_file_reconnects_without_forgetting_anything(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    await WEST.publish(directory.stores["west"])
    (tmp_path / "west").write_bytes(FILE)
    async with directory.running():
        await eventually(lambda: directory.is_ready("west"))
        before = dict(directory.tables.ipcache.wanted.entries)
        directory.tables.ipcache.wanted.take_dirty()
        (tmp_path / "west").write_bytes(FILE + b"# another certificate\n")
        await eventually(lambda: len(directory.peerings["west"].connections.clients) == 2)
        await eventually(lambda: directory.is_ready("west"))
        assert directory.tables.ipcache.wanted.entries == before
        assert directory.tables.ipcache.wanted.take_dirty() == {}
        assert directory.peerings["west"].connections.open == 1


async def test_a_removed_file_drains_that_peer_and_disturbs_no_other(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    for data in (WEST, NORTH):
        await data.publish(directory.stores[data.name])
        (tmp_path / data.name).write_bytes(FILE)
    async with directory.running():
        await eventually(lambda: directory.is_ready("west") and directory.is_ready("north"))
        (tmp_path / "west").unlink()
        await eventually(lambda: "10.2.1.5/32" not in directory.tables.ipcache.wanted.entries)
        assert "10.3.1.5/32" in directory.tables.ipcache.wanted.entries
        assert len(directory.peerings["north"].connections.clients) == 1
        assert directory.ids.held_by("west") is None
        assert list(directory.peers.peers) == ["north"]


async def test_a_file_that_says_no_endpoints_any_more_is_a_removed_one(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    await WEST.publish(directory.stores["west"])
    (tmp_path / "west").write_bytes(FILE)
    async with directory.running():
        await eventually(lambda: directory.is_ready("west"))
        (tmp_path / "west").write_bytes(b"# nothing")
        await eventually(lambda: not directory.tables.ipcache.wanted.entries)
        assert list(directory.peers.peers) == []


async def test_a_peer_that_never_answers_holds_no_other_up(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    await NORTH.publish(directory.stores["north"])
    for name in ("west", "north"):
        (tmp_path / name).write_bytes(FILE)
    async with directory.running():
        await eventually(lambda: directory.is_ready("north"))
        assert not directory.is_ready("west")
