"""Wanted against the kernel, while things change: real differences are told, and only those."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.datapath import IPCACHE, SERVICES
from agent.difference import MapState
from agent.errors import NotReadyError
from agent.hookcheck import HookCheck
from agent.peerstate import PeerState
from agent.verify import Verifier
from aiokit.wait import eventually
from bpf import endpoint_map, ipcache_map, lb_map, policy_map, programspec
from bpf.datapath import Attachment
from bpf.datapath import Datapath as LoadedDatapath
from bpf.lb_steps import Table
from mesh.localservice import Frontend
from mesh.policy import parse_policy
from tests.agent.fakemap import FakeKernel
from tests.agent.peerdata import PeerData
from tests.agent.test_datapath import REMOTE, WEST, Loop, add_service, key, listed_alone, of_kernel
from tests.agent.test_policy import policy
from tests.agent.test_tables import fill
from tests.agent.values import endpoint, tables
from tests.bpf.conftest import bpffs, loaded_root, node  # noqa: F401 - fixtures

OVERLAY, UNDERLAY = 9, 2


async def no_hooks() -> MapState:
    return MapState("links", 0, 0)


class Compared(Loop):
    """The data path's loop, and a verifier beside it."""

    def __init__(self, kernel: FakeKernel | Callable[[Any], Any]) -> None:
        world = tables()
        maps = kernel.maps(world) if isinstance(kernel, FakeKernel) else kernel(world)
        super().__init__(world, maps)
        self.maps = maps
        self.verifier = Verifier(world, self.datapath, maps, no_hooks)

    @asynccontextmanager
    async def filled(self) -> AsyncGenerator[None]:
        """A peer, a service, a policy and an endpoint, all written."""
        async with self.running():
            fill(PeerState("west", self.tables), PeerData())
            add_service(self.tables)
            self.tables.policies.commit({"shop/p": parse_policy(policy(app="web"))})
            self.tables.upsert_endpoint(endpoint(1))
            listed_alone(self.tables)
            await self.settled()
            yield

    async def found(self) -> dict[str, dict[str, list[dict[str, str]]]]:
        """Map -> sort of difference -> entries; only what differs."""
        said = await self.verifier.verify()
        sorts = ("missing", "extra", "different")
        found = {each["name"]: {sort: each[sort] for sort in sorts if each[sort]} for each in said["maps"]}
        assert said["equal"] == (not any(found.values()))
        return {name: differing for name, differing in found.items() if differing}


async def test_what_the_data_path_wrote_is_equal() -> None:
    loop = Compared(FakeKernel())
    async with loop.filled():
        said = await loop.verifier.verify()
    assert (said["equal"], said["settled"], said["errors"]) == (True, True, {})
    assert said["applied"] == said["revision"]
    counts = {each["name"]: (each["wanted"], each["entries"]) for each in said["maps"]}
    assert counts.keys() == {
        *("cilium_ipcache_v2", "cilium_policy", "cilium_lxc", "cilium_node_map_v2", "links"),
        *("cilium_lb4_services_v2", "cilium_lb4_backends_v3"),
        *("cilium_lb4_reverse_nat", "cilium_lb_affinity_match", "cilium_lb4_source_range"),
        *("cilium_lb6_services_v2", "cilium_lb6_backends_v3", "cilium_lb6_reverse_nat"),
        "cilium_lb6_source_range",
    }
    assert all(wanted == entries for wanted, entries in counts.values())
    assert counts["cilium_lb4_services_v2"] == (2, 2)


async def test_missing_extra_and_different_entries_are_told_in_the_words_of_a_dump() -> None:
    kernel = FakeKernel()
    loop = Compared(kernel)
    async with loop.filled():
        del kernel.ipcache.entries[key("10.2.1.5/32")]
        kernel.ipcache.entries[key("10.9.9.9/32")] = ipcache_map.pack_value(7, None)
        kernel.ipcache.entries[key("10.2.1.6/32")] = ipcache_map.pack_value(2, None)
        peer = PeerData()
        right = f"identity={peer.identity} encryptkey=0 tunnelendpoint={peer.node_ip} flags=hastunnel"
        none = "encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>"
        assert await loop.found() == {
            "cilium_ipcache_v2": {
                "missing": [{"key": "10.2.1.5/32", "value": right}],
                "extra": [{"key": "10.9.9.9/32", "value": f"identity=7 {none}"}],
                "different": [{"key": "10.2.1.6/32", "wanted": right, "value": f"identity=2 {none}"}],
            }
        }


async def test_what_is_lost_of_a_service_is_told() -> None:
    kernel = FakeKernel()
    loop = Compared(kernel)
    async with loop.filled():
        kernel.services.maps[Table.BACKENDS].entries.clear()
        lost = {"key": "1", "value": "10.1.1.5:8080/TCP"}
        assert await loop.found() == {"cilium_lb4_backends_v3": {"missing": [lost]}}
    kernel = FakeKernel()
    loop = Compared(kernel)
    async with loop.filled():
        services = kernel.services.maps[Table.SERVICES].entries
        del services[lb_map.pack_service("172.20.1.5", 80, "TCP", 1)]
        slot = {"key": "172.20.1.5:80/TCP (1)", "value": "10.1.1.5:8080/TCP (1) (1)"}
        assert await loop.found() == {"cilium_lb4_services_v2": {"missing": [slot]}}


async def test_keys_that_ours_never_have_are_extra() -> None:
    kernel = FakeKernel()
    loop = Compared(kernel)
    async with loop.filled():
        kernel.ipcache.entries[ipcache_map.pack_key("10.2.1.5/32", cluster_id=3)] = bytes(24)
        odd = bytearray(policy_map.pack_key(1, 2, 80, 6))
        odd[-3] = 7  # a direction that does not exist
        kernel.policy.entries[bytes(odd)] = policy_map.pack_value()
        found = await loop.found()
    assert [each["key"] for each in found["cilium_ipcache_v2"]["extra"]] == ["10.2.1.5/32@3"]
    assert [each["key"] for each in found["cilium_policy"]["extra"]] == [bytes(odd).hex()]


async def test_a_write_that_fails_is_told_as_missing_and_why() -> None:
    kernel = FakeKernel()
    loop = Compared(kernel)
    async with loop.filled():
        kernel.ipcache.size = len(kernel.ipcache.entries)
        loop.tables.ipcache.upsert("10.2.1.77/32", WEST, REMOTE)
        await eventually(lambda: bool(loop.datapath.errors()))
        said = await loop.verifier.verify()
        assert "full" in said["errors"]["ipcache"]
        assert await loop.found()
        kernel.ipcache.size += 1
        await loop.settled()
        assert await loop.found() == {}


async def test_a_mesh_that_never_rests_has_no_false_differences() -> None:
    """Entries and services come and go all through many comparisons."""
    loop = Compared(FakeKernel())
    async with loop.filled():
        async with asyncio.TaskGroup() as group:
            churn = group.create_task(_churn(loop), name="churn")
            for _ in range(25):
                assert await loop.found() == {}
            churn.cancel()
        said = await loop.verifier.verify()
    assert (said["equal"], said["settled"]) == (True, True)


async def test_what_the_kernel_cannot_have_yet_is_moving_and_no_difference() -> None:
    kernel = FakeKernel()
    loop = Compared(kernel)
    async with loop.filled(), loop.datapath.at_rest():
        check = loop.maps.checks()[IPCACHE]
        loop.tables.ipcache.upsert("10.2.1.77/32", WEST, REMOTE)
        del kernel.ipcache.entries[key("10.2.1.5/32")]
        (seen,) = await check.look()
        assert seen.differing.keys() == {key("10.2.1.77/32"), key("10.2.1.5/32")}
        (state,) = await check.confirm([seen])
        assert state.differing.keys() == {key("10.2.1.5/32")}
        assert state.moving == {key("10.2.1.77/32")}
        (service,) = [s for s in await loop.maps.checks()[SERVICES].look() if "lb4_services" in s.name]
        assert (service.is_equal, service.is_settled) == (True, True)
        add_service(loop.tables, backend="10.1.1.9")
        (service,) = [s for s in await loop.maps.checks()[SERVICES].look() if "lb4_services" in s.name]
        assert (service.is_equal, service.is_settled) == (True, False)


async def test_nothing_is_written_while_the_data_path_is_at_rest() -> None:
    kernel = FakeKernel()
    loop = Compared(kernel)
    async with loop.filled():
        async with loop.datapath.at_rest():
            loop.tables.ipcache.upsert("10.2.1.77/32", WEST, REMOTE)
            await asyncio.sleep(0.05)  # the loop has had its chance
            assert key("10.2.1.77/32") not in kernel.ipcache.entries
        await loop.settled()
        assert key("10.2.1.77/32") in kernel.ipcache.entries


async def _churn(loop: Compared) -> None:
    turn = 0
    while True:
        turn += 1
        for index in range(20):
            prefix = f"10.2.{turn % 5}.{index}/32"
            if (turn // 5) % 2:
                loop.tables.ipcache.remove(prefix, WEST)
            else:
                loop.tables.ipcache.upsert(prefix, WEST, REMOTE)
        add_service(loop.tables, f"172.20.2.{turn % 7}", f"api-{turn % 7}", f"10.1.1.{turn % 11 + 1}")
        await asyncio.sleep(0.001)


async def test_nothing_is_compared_before_kubernetes_is_listed() -> None:
    loop = Compared(FakeKernel())
    async with loop.running():
        with pytest.raises(NotReadyError, match="not listed"):
            await loop.verifier.verify()


async def test_an_entry_that_no_map_can_hold_is_named_and_is_no_difference() -> None:
    loop = Compared(FakeKernel())
    async with loop.filled():
        loop.tables.ipcache.upsert("no address", WEST, REMOTE)
        said = await loop.verifier.verify()
    assert said["equal"]
    unfit = {each["name"]: each["unfit"] for each in said["maps"] if each["unfit"]}
    assert [each["key"] for each in unfit["cilium_ipcache_v2"]] == ["no address"]


class Programs:
    def __init__(self, *attached: Attachment) -> None:
        self.attached = list(attached)

    def attachments(self) -> list[Attachment]:
        return self.attached


async def test_programs_that_are_not_on_their_hooks_are_told() -> None:
    world = tables()
    world.upsert_endpoint(endpoint(1))
    sockets = [Attachment(program.name, 4711) for program in programspec.SOCKET_PROGRAMS]
    overlay = [Attachment(program.name, OVERLAY) for program in programspec.OVERLAY_PROGRAMS]
    pod = [Attachment(program.name, 101) for program in programspec.POD_PROGRAMS]
    underlay = [Attachment(program.name, UNDERLAY) for program in programspec.UNDERLAY_PROGRAMS]
    programs = Programs(*sockets, *overlay, *pod, *underlay, Attachment("cil_from_container", 0))
    check = HookCheck(world, programs, OVERLAY, [UNDERLAY])
    assert (await check.look()).is_equal
    programs.attached.remove(pod[1])
    programs.attached.remove(underlay[0])
    programs.attached.append(Attachment("cil_from_container", 55))
    assert {key.decode() for key in (await check.look()).differing} == {
        "cil_to_container 101",
        "cil_from_netdev 2",
        "cil_from_container 55",
    }


@pytest.mark.root
async def test_the_kernels_own_maps_are_compared(node: LoadedDatapath) -> None:  # noqa: F811
    loop = Compared(lambda world: of_kernel(world, node))
    async with loop.filled():
        assert await loop.found() == {}
        node.endpoints.delete([endpoint_map.pack_key("10.1.1.2")])
        node.services.change({Frontend("172.20.9.9", 80, "TCP"): ()})
        found = await loop.found()
    assert [each["key"] for each in found["cilium_lxc"]["missing"]] == ["10.1.1.2"]
    assert [each["key"] for each in found["cilium_lb4_services_v2"]["extra"]] == ["172.20.9.9:80/TCP (0)"]
    assert [each["value"] for each in found["cilium_lb4_reverse_nat"]["extra"]] == ["172.20.9.9:80"]
