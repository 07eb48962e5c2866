"""Kernel maps that are too small: what fits goes in, what does not is counted, and room is used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agent.ipcache import IPCacheEntry
from agent.kernel import KernelMaps
from agent.ownslices import Slice
from agent.tables import Tables
from agent.verify import Verifier
from aiokit.wait import eventually
from bpf import ipcache_map, spec, syscall
from bpf.maglev_tables import Maglev
from bpf.pinned_map import PinnedMap
from bpf.services import ServiceMaps
from bpf.spec import MapSpec
from mesh.localservice import Frontend, LocalBackend, LocalService
from mesh.matching import ServicePort
from mesh.policy import parse_policy
from mesh.service import Port
from tests.agent.test_datapath import REMOTE, WEST, Loop, listed_alone
from tests.agent.test_verdict import policy
from tests.agent.test_verify import no_hooks
from tests.agent.values import endpoint, labels, number, tables

pytestmark = pytest.mark.root

SIZE = 8
OTHER = IPCacheEntry(number(2, 9), "198.18.2.12")
Made = tuple[Tables, KernelMaps, PinnedMap, ServiceMaps]


@pytest.fixture
def made() -> Iterator[Made]:
    """Maps of the kernel, of SIZE entries each."""
    with ExitStack() as opened:

        def small(each: MapSpec) -> PinnedMap:
            fd = syscall.map_create(each.type, each.key.size, each.value.size, SIZE, each.flags)
            return opened.enter_context(PinnedMap(each.name, fd))

        world, ipcache = tables(), small(spec.IPCACHE)
        services = ServiceMaps(
            small(spec.LB4_SERVICES),
            small(spec.LB4_BACKENDS),
            small(spec.LB4_REVERSE_NAT),
            small(spec.LB_AFFINITY_MATCH),
            small(spec.LB4_AFFINITY),
            small(spec.LB6_SERVICES),
            small(spec.LB6_BACKENDS),
            small(spec.LB6_REVERSE_NAT),
            small(spec.LB6_AFFINITY),
            Maglev(small(spec.MAGLEV_TABLES), small(spec.MAGLEV_SLOTS)),
            small(spec.LB4_SOURCE_RANGE),
            Maglev(small(spec.MAGLEV6_TABLES), small(spec.MAGLEV6_SLOTS)),
            small(spec.LB6_SOURCE_RANGE),
        )
        policy, endpoints = small(spec.POLICY), small(spec.ENDPOINTS)
        kernel = KernelMaps(
            world,
            ipcache=ipcache,
            policy=policy,
            endpoints=endpoints,
            services=services,
            nodes=small(spec.NODES),
        )
        listed_alone(world)
        yield world, kernel, ipcache, services


def held(ipcache: PinnedMap) -> dict[str, int]:
    entries = ipcache.dump().items()
    return {ipcache_map.unpack_key(k).prefix_text: ipcache_map.unpack_value(v).identity for k, v in entries}


async def test_a_full_ipcache_goes_on_changing_and_fills_up_when_there_is_room(made: Made) -> None:
    world, kernel, ipcache, _ = made
    loop = Loop(world, kernel)
    async with loop.running():
        for index in range(SIZE + 3):
            world.ipcache.upsert(f"10.2.1.{100 + index}/32", WEST, REMOTE)
        await eventually(lambda: len(ipcache.dump()) == SIZE)
        await eventually(lambda: kernel.unfit()["cilium_ipcache_v2"] == 3)
        assert "3 entries are missing" in loop.health.status().error
        # behind the missing ones in the order of writing, or before: what is there can change
        world.ipcache.upsert("10.2.1.100/32", WEST, OTHER)
        world.ipcache.upsert("10.2.1.107/32", WEST, OTHER)
        world.ipcache.upsert("10.2.1.50/32", WEST, OTHER)  # new: has no room
        await eventually(lambda: set(held(ipcache).values()) == {REMOTE.identity, OTHER.identity})
        await eventually(lambda: held(ipcache)["10.2.1.107/32"] == OTHER.identity)
        for index in range(4):
            world.ipcache.remove(f"10.2.1.{101 + index}/32", WEST)
        await loop.settled()
        assert held(ipcache).keys() == set(world.ipcache.wanted.entries)
        assert (loop.health.status().level, kernel.unfit()["cilium_ipcache_v2"]) == ("ok", 0)


async def test_a_full_map_does_not_slow_the_others_down(made: Made) -> None:
    """Once its tries are seconds apart, an endpoint is still there in a moment."""
    world, kernel, _, _ = made
    loop = Loop(world, kernel)
    async with loop.running():
        for index in range(SIZE + 1):
            world.ipcache.upsert(f"10.2.1.{100 + index}/32", WEST, REMOTE)
        await eventually(lambda: kernel.unfit()["cilium_ipcache_v2"] == 1)
        await eventually(lambda: loop.datapath.retry_seconds > 1)
        begun = time.monotonic()
        revision = world.upsert_endpoint(endpoint(1))
        await loop.datapath.wait_applied(revision, "endpoints", "policy")
        assert time.monotonic() - begun < 1


async def test_a_deny_takes_the_place_of_an_allow_in_a_full_policy_map(made: Made) -> None:
    world, kernel, _, _ = made
    loop = Loop(world, kernel)
    async with loop.running():
        world.upsert_endpoint(endpoint(1))
        world.identities.commit({number(1, 20 + n): labels(f"friend-{n}") for n in range(SIZE + 2)})
        peers = [{"matchLabels": {"app": f"friend-{n}"}} for n in range(SIZE + 2)]
        allow = policy("allow", {"ingress": [{"fromEndpoints": peers}]})
        world.policies.commit({"shop/allow": parse_policy(allow)})
        await eventually(lambda: kernel.unfit()["cilium_policy"] == 3)  # the node's own probes are one more
        deny = policy("deny", {"ingressDeny": [{"fromEndpoints": peers[-2:]}]})
        world.policies.commit({"shop/deny": parse_policy(deny)})
        wanted = {key for key, is_deny in world.policies.entries.entries.items() if is_deny}
        await eventually(lambda: {key for key, deny in kernel.recovered_policy().items() if deny} == wanted)
        assert len(wanted) == 2
        assert len(kernel.recovered_policy()) == SIZE
        world.policies.commit({}, ["shop/allow", "shop/deny"])
        await loop.settled("policy")
        assert kernel.unfit()["cilium_policy"] == 0


async def test_a_service_that_is_too_large_takes_nothing_from_the_others(made: Made) -> None:
    world, kernel, _, services = made
    loop = Loop(world, kernel)
    async with loop.running():
        _service(world, "172.20.1.1", "huge", 20)
        await eventually(lambda: bool(loop.datapath.errors()))
        _service(world, "172.20.1.9", "small", 2)
        small = Frontend("172.20.1.9", 80, "TCP")
        await eventually(lambda: len(kernel.recovered_backends().get(small, ())) == 2)
        huge = Frontend("172.20.1.1", 80, "TCP")
        await eventually(lambda: len(kernel.recovered_backends().get(huge, ())) == SIZE - 4)
        await eventually(lambda: kernel.unfit()["cilium_lb4_services_v2"] == 20 - 4)
        assert "16 backends are missing" in loop.health.status().error
        verifier = Verifier(world, loop.datapath, kernel, no_hooks)
        assert not (await verifier.verify())["equal"]
        _service(world, "172.20.1.1", "huge", 4)
        await loop.settled()
        assert len(kernel.recovered_backends()[huge]) == 4
        assert kernel.unfit()["cilium_lb4_services_v2"] == 0
        assert (await verifier.verify())["equal"]
    assert len(services.backends.dump()) == 6


def _service(world: Tables, ip: str, name: str, count: int) -> None:
    service = LocalService("shop", name, {}, (ip,), (ServicePort("http", "TCP", 80),))
    world.services.set_local(f"shop/{name}", service)
    octet = ip.rpartition(".")[2]
    members = [LocalBackend(f"10.1.{octet}.{index}", {"http": Port("TCP", 8080)}) for index in range(count)]
    world.services.set_slice(f"shop/{name}-1", Slice(f"shop/{name}", tuple(members)))
