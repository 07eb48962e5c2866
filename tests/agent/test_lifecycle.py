"""Endpoints from a plugin's request to the pod's end, with a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.endpoints import Stored, load
from agent.errors import NotFoundError, NotReadyError, RequestError
from aiokit.wait import eventually
from bpf import endpoint_map
from k8s.client import Client
from k8s.resource import (
    CILIUMENDPOINT,
    CILIUMIDENTITY,
    CILIUMNETWORKPOLICY,
    NAMESPACE,
    POD,
)
from lab import netns
from mesh.addressing import ClusterID, PeerScope
from tests.agent.fakemap import FakeKernel
from tests.agent.station import FakeInterfaces, Station, add_pods, names
from tests.agent.test_policy import policy
from tests.agent.values import LAYOUT, NODE


async def show(client: Client, name: str) -> Any:
    raw = await client.get(CILIUMENDPOINT, name, "shop")
    return msgspec.json.decode(raw) if raw is not None else None


async def test_an_endpoint_is_programmed_attached_stored_and_published(
    station: Station, client: Client, tmp_path: Path
) -> None:
    await add_pods(client, ["web-1"])
    async with station.running():
        endpoint = await station.lifecycle.create(await station.add(1))
        assert set(station.kernel.endpoints.entries) == set(map(endpoint_map.pack_key, endpoint.addresses))
        assert endpoint.addresses == ("10.1.1.2", "fd00:10:1:1::2")
        assert station.interfaces.attached == {101}
        assert station.interfaces.routes == dict.fromkeys(endpoint.addresses, 101)
        stored = load(tmp_path / "endpoints.json")
        assert stored.endpoints == (endpoint,)
        owner = "shop/web-1"  # an agent without IPv6 reads the first alone
        assert (stored.addresses, stored.addresses6) == ({"10.1.1.2": owner}, {"fd00:10:1:1::2": owner})
        assert LAYOUT.contains(1, endpoint.identity)
        await eventually(lambda: published(client, "web-1"))
        shown = await show(client, "web-1")
        assert shown["status"]["networking"] == {
            "addressing": [{"ipv4": "10.1.1.2", "ipv6": "fd00:10:1:1::2"}],
            "node": "198.18.1.11",
        }
        assert shown["status"]["identity"]["id"] == endpoint.identity
        assert shown["status"]["state"] == "ready"


async def published(client: Client, name: str) -> bool:
    return await show(client, name) is not None


async def test_a_pod_that_a_policy_selects_is_never_open(station: Station, client: Client) -> None:
    await add_pods(client, ["web-1"])
    await client.create(CILIUMNETWORKPOLICY, policy())
    async with station.running():
        await station.lifecycle.create(await station.add(1))
        written = [name for name, action in station.kernel.writes() if action == "upsert"]
        assert written.index("policy") < written.index("endpoints")
        values = list(map(endpoint_map.unpack_value, station.kernel.endpoints.entries.values()))
        assert [value.ingress_enforced for value in values] == [True, True]  # at both addresses


async def test_pods_with_equal_labels_share_an_identity_and_others_do_not(
    station: Station, client: Client
) -> None:
    await add_pods(client, ["web-1", "web-2", "api-3"])
    async with station.running():
        one, two = await asyncio.gather(
            *[station.lifecycle.create(await station.add(index)) for index in (1, 2)]
        )
        other = await station.lifecycle.create(await station.add(3, "api"))
        assert one.identity == two.identity != other.identity
        assert await names(client, CILIUMIDENTITY) == sorted([str(one.identity), str(other.identity)])


async def test_agents_that_allocate_at_once_converge_on_one_number(client: Client, tmp_path: Path) -> None:
    await add_pods(client, [f"web-{index}" for index in range(1, 5)], app="web")
    stations = [
        Station(client, tmp_path / str(index), FakeKernel(), FakeInterfaces()) for index in range(1, 5)
    ]
    async with asyncio.TaskGroup() as group:
        works = [
            group.create_task(one_endpoint(s, index), name=f"{index}") for index, s in enumerate(stations, 1)
        ]
    assert len({work.result() for work in works}) == 1
    assert len(await names(client, CILIUMIDENTITY)) == 1


async def one_endpoint(station: Station, index: int) -> int:
    async with station.running():
        return (await station.lifecycle.create(await station.add(index))).identity


async def test_asking_twice_is_asking_once(station: Station, client: Client) -> None:
    await add_pods(client, ["web-1"])
    async with station.running():
        request = await station.add(1)
        assert await station.lifecycle.create(request) == await station.lifecycle.create(request)
        assert len(station.tables.endpoints) == 1


async def test_a_container_with_a_new_interface_is_a_new_endpoint(station: Station, client: Client) -> None:
    await add_pods(client, ["web-1"])
    async with station.running():
        request = await station.add(1)
        first = await station.lifecycle.create(request)
        moved = msgspec.structs.replace(request, interface="lxc7", ifindex=107)
        second = await station.lifecycle.create(moved)
        assert (second.ifindex, second.ipv4) == (107, first.ipv4)
        assert list(station.tables.endpoints.values()) == [second]
        assert station.interfaces.attached == {107}


async def test_a_deleted_endpoint_leaves_nothing_but_its_address(station: Station, client: Client) -> None:
    await add_pods(client, ["web-1"])
    async with station.running():
        endpoint = await station.lifecycle.create(await station.add(1))
        await eventually(lambda: published(client, "web-1"))
        for address in endpoint.addresses:
            with pytest.raises(NotFoundError, match="belongs to an endpoint"):
                await station.lifecycle.release(address)
        await station.lifecycle.delete("container-1")
        await station.datapath.wait_applied(station.tables.clock.revision)
        assert station.kernel.endpoints.entries == {}
        assert station.interfaces.attached == set()
        assert station.interfaces.routes == {}
        assert station.interfaces.forgotten == list(endpoint.addresses)
        for address in endpoint.addresses:
            await station.lifecycle.release(address)
        assert station.lifecycle.pools.owners == {}

        async def withdrawn() -> bool:
            return await show(client, "web-1") is None

        await eventually(withdrawn)
        with pytest.raises(NotFoundError):
            await station.lifecycle.delete("container-1")


async def test_the_record_of_a_pod_that_lives_elsewhere_by_now_is_not_withdrawn(
    station: Station, client: Client
) -> None:
    await add_pods(client, ["web-1", "web-2"])
    async with station.running():
        await station.lifecycle.create(await station.add(1))
        await eventually(lambda: published(client, "web-1"))
        moved = {"status": {"networking": {"addressing": [{"ipv4": "10.1.2.9"}], "node": "198.18.1.12"}}}
        await client.merge_patch(CILIUMENDPOINT, "web-1", moved, "shop")
        await station.lifecycle.delete("container-1")
        await station.lifecycle.create(await station.add(2))
        await eventually(lambda: published(client, "web-2"))
        assert (await show(client, "web-1"))["status"]["networking"]["node"] == "198.18.1.12"


async def test_the_next_life_takes_up_what_stands_and_writes_nothing(
    station: Station, client: Client, tmp_path: Path
) -> None:
    await add_pods(client, ["web-1"])
    await client.create(CILIUMNETWORKPOLICY, policy())
    async with station.running():
        endpoint = await station.lifecycle.create(await station.add(1))
    station.kernel.log.clear()
    after = Station(client, tmp_path / "endpoints.json", station.kernel, station.interfaces)
    async with after.running():
        await after.datapath.wait_applied(after.tables.clock.revision)
        assert after.tables.endpoints == {endpoint.id: endpoint}
        assert after.kernel.log == []
        assert after.lifecycle.pools.owners == dict.fromkeys(endpoint.addresses, "shop/web-1")
        given = await after.lifecycle.allocate("shop/web-2")
        assert {given.ipv4, given.ipv6}.isdisjoint(endpoint.addresses)


async def test_an_endpoint_whose_interface_is_gone_is_collected(
    station: Station, client: Client, tmp_path: Path
) -> None:
    await add_pods(client, ["web-1"])
    async with station.running():
        await station.lifecycle.create(await station.add(1))
    del station.interfaces.existing["lxc1"]
    after = Station(client, tmp_path / "endpoints.json", station.kernel, station.interfaces)
    async with after.running():
        await after.datapath.wait_applied(after.tables.clock.revision)
        assert after.tables.endpoints == {}
        assert after.kernel.endpoints.entries == {}
        assert after.lifecycle.pools.owners == {}


async def test_a_relabelled_pod_gets_the_identity_of_its_new_labels(station: Station, client: Client) -> None:
    await add_pods(client, ["web-1"])
    async with station.running():
        before = await station.lifecycle.create(await station.add(1))
        await client.merge_patch(POD, "web-1", {"metadata": {"labels": {"app": "api"}}}, "shop")
        await eventually(lambda: station.tables.endpoints[before.id].identity != before.identity)
        assert "k8s:app=api" in station.tables.endpoints[before.id].labels
        second = station.tables.endpoints[before.id].identity
        await client.merge_patch(NAMESPACE, "shop", {"metadata": {"labels": {"team": "b"}}})
        await eventually(lambda: station.tables.endpoints[before.id].identity != second)


async def test_pods_that_outlive_a_change_of_the_cluster_s_id_get_identities_of_the_new_one(
    station: Station, client: Client, tmp_path: Path
) -> None:
    """Peers believe no other: with their old ones, the pods would be in no peer's reach any more."""
    await add_pods(client, ["web-1", "web-2"])
    async with station.running():
        before = await station.lifecycle.create(await station.add(1))
    moved = replace(NODE, cluster=PeerScope(NODE.cluster.name, ClusterID(7), NODE.cluster.layout))
    path = tmp_path / "endpoints.json"
    after = Station(client, path, station.kernel, station.interfaces, moved)
    async with after.running():
        await eventually(lambda: after.tables.endpoints[before.id].identity != before.identity)
        kept = after.tables.endpoints[before.id]
        assert moved.cluster.owns(kept.identity)
        assert kept.labels == before.labels
        new = await after.lifecycle.create(await after.add(2))
        assert new.identity == kept.identity
    assert load(path).endpoints[0].identity == kept.identity


async def test_a_successor_of_the_same_name_does_not_relabel_its_predecessor(
    station: Station, client: Client
) -> None:
    await add_pods(client, ["web-1", "web-2"])
    async with station.running():
        before = await station.lifecycle.create(await station.add(1))
        witness = await station.lifecycle.create(await station.add(2))
        await client.delete(POD, "web-1", "shop")
        await add_pods(client, ["web-1"], app="api")
        await client.merge_patch(POD, "web-2", {"metadata": {"labels": {"app": "api"}}}, "shop")
        await eventually(lambda: station.tables.endpoints[witness.id].identity != witness.identity)
        assert station.tables.endpoints[before.id] == before


async def test_no_endpoint_is_answered_for_before_policies_are_known(
    station: Station, client: Client
) -> None:
    await add_pods(client, ["web-1"])
    with pytest.raises(NotReadyError, match="policies are unknown"):
        await station.lifecycle.create(await station.add(1))
    assert station.tables.endpoints == {}


async def test_a_pod_that_kubernetes_does_not_know_is_refused_for_now(station: Station) -> None:
    async with station.running():
        with pytest.raises(NotReadyError, match="does not know pod shop/web-1"):
            await station.lifecycle.create(await station.add(1))
        assert station.tables.endpoints == {}


async def test_an_address_outside_the_nodes_range_is_refused(station: Station, client: Client) -> None:
    await add_pods(client, ["web-1"])
    async with station.running():
        request = msgspec.structs.replace(await station.add(1), ipv4="10.9.9.9")
        with pytest.raises(RequestError, match="not a pod address"):
            await station.lifecycle.create(request)


async def test_an_endpoint_that_cannot_be_programmed_is_not_answered_for_and_leaves_nothing(
    station: Station, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.lifecycle.PROGRAM_SECONDS", 0.2)
    await add_pods(client, ["web-1"])
    async with station.running():
        station.kernel.endpoints.failing = 10**6
        with pytest.raises(NotReadyError, match="failed on purpose"):
            await station.lifecycle.create(await station.add(1))
        assert station.tables.endpoints == {}
        assert station.interfaces.attached == set()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    netns.mount("tmpfs", str(folder), "tmpfs", 0, "size=64k")
    yield folder
    netns.unmount(folder)


async def test_a_full_disk_refuses_new_endpoints_and_keeps_nothing_else_from_its_work(
    client: Client, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.lifecycle.COLLECT_SECONDS", 0.05)
    await add_pods(client, ["web-1", "web-2", "web-3"])
    path = small_disk / "endpoints.json"
    station = Station(client, path, FakeKernel(), FakeInterfaces())
    station.agent.health.ok("running")
    async with station.running(), asyncio.TaskGroup() as group:
        first = await station.lifecycle.create(await station.add(1))
        second = await station.lifecycle.create(await station.add(2))
        request = await station.add(3)
        filler = small_disk / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * 65536)
        with pytest.raises(NotReadyError, match="No space left"):
            await station.lifecycle.allocate("shop/other")
        with pytest.raises(NotReadyError, match="No space left"):
            await station.lifecycle.create(request)
        assert set(station.tables.endpoints.values()) == {first, second}
        assert "shop/other" not in station.lifecycle.pools.owners.values()
        assert "No space left" in station.agent.healthz()["cilium"]["msg"]
        await client.merge_patch(POD, "web-1", {"metadata": {"labels": {"app": "api"}}}, "shop")
        await eventually(lambda: station.tables.endpoints[first.id].identity != first.identity)
        del station.interfaces.existing["lxc2"]
        collector = group.create_task(station.lifecycle.run_collector(), name="collector")
        await eventually(lambda: list(station.tables.endpoints) == [first.id])
        assert load(path).endpoints == (first, second)
        filler.unlink()
        await eventually(lambda: not station.lifecycle.unstored)
        assert load(path).endpoints == (station.tables.endpoints[first.id],)
        collector.cancel()


async def test_an_earlier_life_s_health_endpoint_does_not_keep_its_address(station: Station) -> None:
    station.lifecycle.load(Stored(addresses={"10.1.1.254": "health", "10.1.1.9": "shop/web"}))
    assert station.lifecycle.pools.owners == {"10.1.1.9": "shop/web"}
