"""Watchers of packets: what they asked for, and no more than they can read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from agent.agent import Agent
from agent.flows import describe
from agent.monitor import QUEUE, Monitor
from aiokit.wait import eventually
from bpf import event_map
from bpf.event_map import Event
from bpf.layout import EVENT, EVENT_CONFIG_VALUE
from tests.agent.test_api import served
from tests.agent.test_policy import REMOTE, WEST
from tests.agent.values import endpoint, tables

DROP, TRACE = 1, 4


def record(kind: int = DROP, *, peer: int = 131073, direction: int = 1) -> bytes:
    source, target = bytes([10, 2, 1, 5]), bytes([10, 1, 1, 2])
    ports = ((40_000).to_bytes(2, "big"), (80).to_bytes(2, "big"))
    reason = 133 if kind == DROP else 0
    return EVENT.pack(1_500_000_000, peer, source, target, *ports, 60, 1, kind, reason, direction, 6, 2, b"")


class FakeRing:
    def __init__(self) -> None:
        self.records: list[bytes] = []

    def drain(self, limit: int) -> list[bytes]:
        taken, self.records = self.records[:limit], self.records[limit:]
        return taken


class FakeConfig:
    def __init__(self) -> None:
        self.wanted: tuple[int, int] = (-1, -1)

    def update(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        ((key, value),) = items
        assert key == event_map.KEY
        drops, every = EVENT_CONFIG_VALUE.unpack(value)
        self.wanted = (drops, every)


@asynccontextmanager
async def monitoring() -> AsyncGenerator[tuple[Monitor, FakeRing, FakeConfig]]:
    ring, config = FakeRing(), FakeConfig()
    monitor = Monitor(ring, config)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(monitor.run(), name="monitor under test")
        yield monitor, ring, config
        task.cancel()


async def test_the_kernel_is_asked_for_what_the_watchers_want_together_and_for_nothing_without() -> None:
    async with monitoring() as (monitor, _, config):
        await eventually(lambda: config.wanted == (0, 0))
        with monitor.watching(drops=True, trace_every=0):
            assert config.wanted == (1, 0)
            with monitor.watching(drops=False, trace_every=16), monitor.watching(drops=False, trace_every=4):
                assert config.wanted == (1, 4)
            assert config.wanted == (1, 0)
        assert config.wanted == (0, 0)


async def test_a_watcher_gets_its_kind_and_nothing_from_before_it_came() -> None:
    async with monitoring() as (monitor, ring, _):
        ring.records = [record()]
        with (
            monitor.watching(drops=True, trace_every=0) as drops,
            monitor.watching(drops=False, trace_every=1) as traces,
        ):
            ring.records = [record(peer=1), record(TRACE, peer=2)]
            assert (await drops.events.get()).peer == 1
            assert (await traces.events.get()).peer == 2
            assert drops.events.empty()
            ring.records = [record()]
        assert not ring.records  # nothing is left for whoever reads next


async def test_a_slow_watcher_loses_events_and_knows_how_many() -> None:
    async with monitoring() as (monitor, ring, _):
        with monitor.watching(drops=True, trace_every=0) as watcher:
            ring.records = [record()] * (QUEUE + 5)
            await eventually(lambda: watcher.lost == 5)
            assert watcher.events.full()


def described(event: Event) -> dict[str, object]:
    world = tables()
    world.own_listed()
    world.upsert_endpoint(endpoint(1))
    world.ipcache.upsert("10.2.1.5/32", WEST, REMOTE)
    return describe(event, world, 1_000_000_000.0)


def test_an_event_names_both_sides() -> None:
    said = described(event_map.unpack(record(peer=131099)))
    assert said["time"] == "2001-09-09T01:46:41.500+00:00"
    assert (said["type"], said["reason"], said["direction"]) == ("drop", "policy denied", "ingress")
    assert said["source"] == {"ip": "10.2.1.5", "port": 40_000, "identity": 131099, "pod": ""}
    pod = endpoint(1)
    assert said["destination"] == {"ip": pod.ipv4, "port": 80, "identity": pod.identity, "pod": pod.pod}


def test_without_the_programs_word_the_addresses_say_who_it_was() -> None:
    said = described(event_map.unpack(record(peer=0)))
    assert isinstance(said["source"], dict)
    assert said["source"]["identity"] == REMOTE.identity


async def test_the_api_streams_events_as_lines_until_the_client_leaves(tmp_path: Path) -> None:
    agent = Agent("east", "node-1", tables=tables())
    async with monitoring() as (monitor, ring, config), served(agent, tmp_path) as session:
        async with session.get("/v1/monitor") as answer:
            assert answer.status == 503
        agent.monitor = monitor
        for wrong in ("type=all", "every=0", "every=x"):
            async with session.get(f"/v1/monitor?{wrong}") as answer:
                assert answer.status == 400
        async with session.get("/v1/monitor?type=drop") as answer:
            await eventually(lambda: config.wanted == (1, 0))
            ring.records = [record(), record(TRACE), record()]
            lines = [msgspec.json.decode(await answer.content.readline()) for _ in range(2)]
            assert [line["type"] for line in lines] == ["drop", "drop"]
        await eventually(lambda: config.wanted == (0, 0), 10)
