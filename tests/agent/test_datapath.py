"""Tables into maps: with maps that fail on purpose, and with the kernel's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import groupby

import pytest

from agent.datapath import ENDPOINTS, IPCACHE, POLICY, Datapath
from agent.ipcache import IPCacheEntry, Level, Rank
from agent.kernel import KernelMaps, pack_ipcache
from agent.ownslices import Slice
from agent.peerstate import PeerState
from agent.tables import Tables
from aiokit.health import Health
from aiokit.wait import eventually
from bpf import endpoint_map, ipcache_map, policy_map
from bpf.datapath import Datapath as LoadedDatapath
from mesh.addressing import ClusterID
from mesh.localservice import Frontend, LocalBackend, LocalService
from mesh.matching import ServicePort
from mesh.policy import parse_policy
from mesh.service import Port
from tests.agent.fakemap import FakeKernel
from tests.agent.peerdata import PeerData
from tests.agent.test_policy import policy
from tests.agent.test_tables import fill
from tests.agent.values import endpoint, number, tables
from tests.bpf.conftest import bpffs, loaded_root, node  # noqa: F401 - fixtures

WEST = Rank(Level.PEER_ENDPOINT, "west")
REMOTE = IPCacheEntry(number(2, 1), "198.18.2.11")


class Loop:
    """The data path's task over given maps."""

    def __init__(self, world: Tables, kernel: KernelMaps, *, resync: float = 300.0) -> None:
        self.tables = world
        self.health = Health()
        self.datapath = Datapath(world, kernel, health=self.health, resync=resync)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.datapath.run(), name="datapath under test")
            yield
            task.cancel()

    async def settled(self, *names: str) -> None:
        async with asyncio.timeout(10):
            await self.datapath.wait_applied(self.tables.clock.revision, *names)


def listed_alone(world: Tables) -> None:
    """No peers are configured and Kubernetes is listed."""
    world.set_peer_listings(list)
    world.own_listed()


def key(prefix: str) -> bytes:
    return ipcache_map.pack_key(prefix)


async def test_what_is_wanted_is_written_and_what_is_not_is_removed() -> None:
    world, kernel = tables(), FakeKernel()
    kernel.ipcache.entries[key("10.9.9.9/32")] = pack_ipcache(REMOTE)
    loop = Loop(world, kernel.maps(world))
    async with loop.running():
        world.ipcache.upsert("10.2.1.5/32", WEST, REMOTE)
        listed_alone(world)
        await loop.settled()
        assert kernel.ipcache.entries == {key("10.2.1.5/32"): pack_ipcache(REMOTE)}
        world.ipcache.remove("10.2.1.5/32", WEST)
        await loop.settled()
        assert kernel.ipcache.entries == {}
        assert loop.health.status().level == "ok"


async def test_nothing_is_removed_from_half_a_picture() -> None:
    world, kernel = tables(), FakeKernel()
    kernel.ipcache.entries[key("10.2.1.5/32")] = pack_ipcache(REMOTE)
    kernel.ipcache.entries[key("10.1.1.2/32")] = pack_ipcache(IPCacheEntry(number(1, 1), None))
    before = dict(kernel.ipcache.entries)
    loop = Loop(world, kernel.maps(world), resync=0.01)
    async with loop.running():
        await loop.settled(IPCACHE)
        assert kernel.ipcache.entries == before
        state = PeerState("west", world)
        world.set_peer_listings(lambda: [(state.cluster_id, state.is_listed)])
        world.own_listed()
        await loop.settled()
        assert kernel.ipcache.entries.keys() == {key("10.2.1.5/32")}
    assert kernel.ipcache.entries.keys() == {key("10.2.1.5/32")}


async def test_an_entry_that_is_right_already_is_not_written_again() -> None:
    world, kernel = tables(), FakeKernel()
    kernel.ipcache.entries[key("10.2.1.5/32")] = pack_ipcache(REMOTE)
    world.ipcache.upsert("10.2.1.5/32", WEST, REMOTE)
    loop = Loop(world, kernel.maps(world))
    async with loop.running():
        listed_alone(world)
        await loop.settled()
    assert kernel.log == []


async def test_a_compare_repairs_what_somebody_else_did_to_the_map() -> None:
    world, kernel = tables(), FakeKernel()
    loop = Loop(world, kernel.maps(world), resync=0.02)
    async with loop.running():
        listed_alone(world)
        world.ipcache.upsert("10.2.1.5/32", WEST, REMOTE)
        await loop.settled()
        kernel.ipcache.entries = {key("10.9.9.9/32"): pack_ipcache(REMOTE)}
        await eventually(lambda: kernel.ipcache.entries == {key("10.2.1.5/32"): pack_ipcache(REMOTE)})


async def test_policy_is_written_before_the_endpoint_and_removed_after_it() -> None:
    world, kernel = tables(), FakeKernel()
    loop = Loop(world, kernel.maps(world))
    async with loop.running():
        world.policies.commit({"shop/p": parse_policy(policy())})
        listed_alone(world)
        await loop.settled()
        kernel.log.clear()
        world.upsert_endpoint(endpoint(1))
        await loop.settled(POLICY, ENDPOINTS)
        assert kernel.writes() == [
            ("policy", "upsert"),
            ("ipcache", "upsert"),
            ("endpoints", "upsert"),
        ]
        (raw,) = kernel.endpoints.entries.values()
        assert endpoint_map.unpack_value(raw).ingress_enforced
        kernel.log.clear()
        world.remove_endpoint(1)
        await loop.settled(POLICY, ENDPOINTS)
        assert kernel.writes() == [
            ("endpoints", "delete"),
            ("ipcache", "delete"),
            ("policy", "delete"),
        ]


async def test_a_prefix_gets_its_identity_after_the_policies_know_it_and_loses_it_before() -> None:
    world, kernel = tables(), FakeKernel()
    loop = Loop(world, kernel.maps(world))
    async with loop.running():
        listed_alone(world)
        world.upsert_endpoint(endpoint(1))
        world.policies.commit({"shop/p": parse_policy(policy(egress=[{"toCIDR": ["10.0.0.0/8"]}]))})
        await loop.settled()
        kernel.log.clear()
        inner = parse_policy(policy("q", egress=[{"toCIDR": ["10.1.0.0/16"]}]))
        world.policies.commit({"shop/q": inner})
        await loop.settled()
        assert kernel.writes() == [("policy", "upsert"), ("ipcache", "upsert")]
        kernel.log.clear()
        world.policies.commit({}, ["shop/q"])
        await loop.settled()
        assert kernel.writes() == [("ipcache", "delete"), ("policy", "delete")]


async def test_a_change_in_the_middle_of_a_round_waits_for_the_next() -> None:
    """Else the address would have its new identity before the policies know it."""
    world, kernel = tables(), FakeKernel()
    loop = Loop(world, kernel.maps(world))
    async with loop.running():
        listed_alone(world)
        world.upsert_endpoint(endpoint(1))
        await loop.settled()
        kernel.log.clear()
        late = parse_policy(policy("q", egress=[{"toCIDR": ["10.1.0.0/16"]}]))

        def during() -> None:
            world.policies.commit({"shop/q": late})

        kernel.policy.on_update = during
        world.policies.commit({"shop/p": parse_policy(policy(egress=[{"toCIDR": ["10.0.0.0/8"]}]))})
        await loop.settled()
        written = [(name, what) for name, what, _ in kernel.log if name in ("policy", "ipcache")]
        rounds = [what for what, _ in groupby(written)]
        assert rounds == [("policy", "upsert"), ("ipcache", "upsert")] * 2


async def test_endpoints_are_not_touched_before_policies_are_known() -> None:
    world, kernel = tables(), FakeKernel()
    world.upsert_endpoint(endpoint(1))
    kernel.endpoints.entries[endpoint_map.pack_key("10.1.1.2")] = b"enforced by an earlier life"
    loop = Loop(world, kernel.maps(world), resync=0.01)
    async with loop.running():
        await loop.settled(IPCACHE)
        assert list(kernel.endpoints.entries.values()) == [b"enforced by an earlier life"]
        assert loop.datapath.applied(ENDPOINTS) == -1


async def test_a_full_map_is_said_and_holds_up_nothing_else_and_is_filled_once_there_is_room() -> None:
    world, kernel = tables(), FakeKernel()
    kernel.ipcache.size = 1
    loop = Loop(world, kernel.maps(world))
    async with loop.running():
        listed_alone(world)
        world.ipcache.upsert("10.2.1.5/32", WEST, REMOTE)
        world.ipcache.upsert("10.2.1.6/32", WEST, REMOTE)
        world.policies.commit({"shop/p": parse_policy(policy())})
        await eventually(lambda: "full at 1 entries; 1 entries are missing" in loop.health.status().error)
        assert loop.health.status().level == "degraded"
        assert loop.datapath.applied(IPCACHE) < world.clock.revision
        await loop.settled(POLICY, ENDPOINTS)
        kernel.ipcache.size = 2
        await loop.settled()
        assert kernel.ipcache.entries.keys() == {key("10.2.1.5/32"), key("10.2.1.6/32")}
        assert loop.health.status().level == "ok"


async def test_a_failed_write_is_made_again_and_changes_meanwhile_are_not_lost() -> None:
    world, kernel = tables(), FakeKernel()
    loop = Loop(world, kernel.maps(world))
    async with loop.running():
        listed_alone(world)
        await loop.settled()
        kernel.ipcache.failing = 2
        world.ipcache.upsert("10.2.1.5/32", WEST, REMOTE)
        await eventually(lambda: loop.health.status().level == "degraded")
        world.ipcache.remove("10.2.1.5/32", WEST)
        world.ipcache.upsert("10.2.1.6/32", WEST, REMOTE)
        await loop.settled()
        assert kernel.ipcache.entries.keys() == {key("10.2.1.6/32")}


async def test_a_service_write_that_failed_half_way_ends_right() -> None:
    world, kernel = tables(), FakeKernel()
    loop = Loop(world, kernel.maps(world))
    async with loop.running():
        add_service(world)
        listed_alone(world)
        await loop.settled()
        broken = next(iter(kernel.services.maps.values()))
        broken.failing = 1
        add_service(world, "172.20.1.6", "api")
        await eventually(lambda: loop.health.status().level == "degraded")
        await loop.settled()
        assert loop.health.status().level == "ok"
        assert set(kernel.maps(world).recovered_backends()) == {
            Frontend("172.20.1.5", 80, "TCP"),
            Frontend("172.20.1.6", 80, "TCP"),
        }


async def test_an_address_that_is_none_is_left_out_and_does_not_stop_the_others() -> None:
    world, kernel = tables(), FakeKernel()
    loop = Loop(world, kernel.maps(world))
    async with loop.running():
        listed_alone(world)
        await loop.settled()
        world.ipcache.upsert("no address", WEST, REMOTE)
        world.ipcache.upsert("10.2.1.5/32", WEST, REMOTE)
        add_service(world, backend="no address")
        await loop.settled()
        assert kernel.ipcache.entries.keys() == {key("10.2.1.5/32")}
        assert kernel.maps(world).recovered_backends() == {Frontend("172.20.1.5", 80, "TCP"): ()}


def add_service(world: Tables, ip: str = "172.20.1.5", name: str = "web", backend: str = "10.1.1.5") -> None:

    service = LocalService("shop", name, {}, (ip,), (ServicePort("http", "TCP", 80),))
    world.services.set_local(f"shop/{name}", service)
    members = (LocalBackend(backend, {"http": Port("TCP", 8080)}),)
    world.services.set_slice(f"shop/{name}-1", Slice(f"shop/{name}", members))


def of_kernel(world: Tables, node: LoadedDatapath) -> KernelMaps:  # noqa: F811
    return KernelMaps(
        world,
        ipcache=node.ipcache,
        policy=node.policy,
        endpoints=node.endpoints,
        services=node.services,
        nodes=node.nodes,
    )


@pytest.mark.root
async def test_the_kernel_has_exactly_what_is_wanted_of_all_kinds(node: LoadedDatapath) -> None:  # noqa: F811
    world = tables()
    loop = Loop(world, of_kernel(world, node))
    state, data = PeerState("west", world), PeerData()
    async with loop.running():
        fill(state, data)
        add_service(world)
        world.policies.commit({"shop/p": parse_policy(policy(app="web"))})
        world.upsert_endpoint(endpoint(1))
        listed_alone(world)
        await loop.settled()
        found = {
            ipcache_map.unpack_key(k).prefix_text: ipcache_map.unpack_value(v)
            for k, v in node.ipcache.dump().items()
        }
        assert {p: (v.identity, v.tunnel) for p, v in found.items()} == {
            "10.2.1.5/32": (data.identity, data.node_ip),
            "10.2.1.6/32": (data.identity, data.node_ip),
            "10.2.1.1/32": (6, data.node_ip),
            "198.18.2.11/32": (6, None),
            "10.1.1.2/32": (number(1, 1), None),
        }
        assert data.identity in {policy_map.unpack_key(k).identity for k in node.policy.dump()}
        assert [endpoint_map.unpack_key(k) for k in node.endpoints.dump()] == ["10.1.1.2"]
        state.drain()
        world.remove_endpoint(1)
        await loop.settled()
        assert node.ipcache.dump() == {}
        assert node.policy.dump() == {}
        assert node.endpoints.dump() == {}


@pytest.mark.root
async def test_after_a_kill_the_kernel_keeps_everything_until_the_peer_is_listed_again(
    node: LoadedDatapath,  # noqa: F811
) -> None:
    data = PeerData()
    first = tables()
    before = Loop(first, of_kernel(first, node))
    async with before.running():
        fill(PeerState("west", first), data)
        first.policies.commit({"shop/p": parse_policy(policy(app="web"))})
        first.upsert_endpoint(endpoint(1))
        listed_alone(first)
        await before.settled()
    ipcache, rules = node.ipcache.dump(), node.policy.dump()

    second = tables()
    second.upsert_endpoint(endpoint(1))
    state = PeerState("west", second)
    second.set_peer_listings(lambda: [(state.cluster_id, state.is_listed)])
    after = Loop(second, of_kernel(second, node), resync=0.02)
    async with after.running():
        second.policies.commit({"shop/p": parse_policy(policy(app="web"))})
        second.own_listed()
        await after.settled()
        assert node.ipcache.dump() == ipcache
        assert node.policy.dump() == rules
        less = PeerData(ips=("10.2.1.5",))
        fill(state, less)
        for kind in less.pairs():
            state.listed(kind, ClusterID(2))
        await after.settled()
        gone = ipcache.keys() - node.ipcache.dump().keys()
        assert gone == {key("10.2.1.6/32")}
        assert node.policy.dump() == rules
