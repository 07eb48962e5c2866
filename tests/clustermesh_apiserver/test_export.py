"""From a real API server's objects to a real etcd's keys, through every kind of interruption."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiokit.wait import eventually
from clustermesh_apiserver import exporters
from clustermesh_apiserver.publisher import Publisher
from clustermesh_apiserver.serve import follow, running
from k8s.client import Client
from k8s.client import connect as connect_kubernetes
from k8s.resource import CILIUMENDPOINT, CILIUMIDENTITY, CILIUMNODE, SERVICE
from kvstore.backend import KeyValue
from kvstore.etcd import EtcdBackend
from kvstore.etcd import connect as connect_etcd
from tests.clustermesh_apiserver import objects as o
from tests.clustermesh_apiserver.etcd import config, stored, wait_stored
from tests.clustermesh_apiserver.expected import (
    CANARIES,
    CONFIG,
    CONFIG_VALUE,
    EVERYTHING,
    HEARTBEAT,
    IDENTITY,
    IP,
    NODE,
    SERVICE_KEY,
    SLICE_KEY,
)
from tests.clustermesh_apiserver.kubernetes import Kubernetes, create_everything, with_kinds
from tests.conftest import RunningEtcd

RECOVERY_SECONDS = 25.0  # etcd's restart, a dialling time-out and the longest back-off


@asynccontextmanager
async def exporting(kubernetes: Kubernetes, etcd: RunningEtcd) -> AsyncIterator[Publisher]:
    async with connect_kubernetes(kubernetes.access) as client:
        built = exporters.build(o.EAST, follow(client), default_global_namespace=True)
        publisher = Publisher(lambda: connect_etcd(config(etcd)), o.EAST, built, lease_ttl_seconds=60)
        async with running(publisher, built):
            yield publisher


async def test_objects_become_keys_with_leases_and_deleted_objects_take_them_away(
    kubernetes: Kubernetes, client: Client, mesh_etcd: RunningEtcd
) -> None:
    async with exporting(kubernetes, mesh_etcd):
        pairs = await wait_stored(mesh_etcd, EVERYTHING)
        assert all(pair.lease for pair in pairs.values())
        assert pairs[CONFIG].value == CONFIG_VALUE
        assert json.loads(pairs[SERVICE_KEY].value)["backends"] == {
            "10.3.1.44": {"http": {"Protocol": "TCP", "Port": 8080}}
        }
        await client.delete(CILIUMENDPOINT, "web-0", "shop")
        await client.delete(CILIUMNODE, "worker-1")
        await client.delete(CILIUMIDENTITY, "196871")
        await client.delete(SERVICE, "web", "shop")  # its slice with it
        await wait_stored(mesh_etcd, {CONFIG, HEARTBEAT, *CANARIES})


async def test_data_are_stored_before_their_canary(kubernetes: Kubernetes, mesh_etcd: RunningEtcd) -> None:
    async with exporting(kubernetes, mesh_etcd):
        pairs = await wait_stored(mesh_etcd, EVERYTHING)
    assert_data_before_canaries(pairs)


def assert_data_before_canaries(pairs: dict[bytes, KeyValue]) -> None:
    written = {
        NODE: b"nodes",
        IDENTITY: b"identities",
        IP: b"ip",
        SERVICE_KEY: b"services",
        SLICE_KEY: b"endpointslices",
    }
    for data, kind in written.items():
        canary = pairs[b"cilium/synced/east/cilium/state/" + kind + b"/v1"]
        assert pairs[data].mod_revision < canary.mod_revision


async def test_a_service_that_is_no_longer_shared_vanishes_and_comes_back(
    kubernetes: Kubernetes, client: Client, mesh_etcd: RunningEtcd
) -> None:
    shared = "service.cilium.io/shared"
    async with exporting(kubernetes, mesh_etcd):
        await wait_stored(mesh_etcd, EVERYTHING)
        await client.merge_patch(SERVICE, "web", {"metadata": {"annotations": {shared: "false"}}}, "shop")
        await wait_stored(mesh_etcd, EVERYTHING - {SERVICE_KEY, SLICE_KEY})
        await client.merge_patch(SERVICE, "web", {"metadata": {"annotations": {shared: None}}}, "shop")
        await wait_stored(mesh_etcd, EVERYTHING)


async def test_an_object_removed_while_the_exporter_was_away_loses_its_key(
    kubernetes: Kubernetes, client: Client, mesh_etcd: RunningEtcd
) -> None:
    async with exporting(kubernetes, mesh_etcd):
        await wait_stored(mesh_etcd, EVERYTHING)
    await client.delete(CILIUMENDPOINT, "web-0", "shop")
    assert IP in await stored(mesh_etcd)
    async with exporting(kubernetes, mesh_etcd):
        await wait_stored(mesh_etcd, EVERYTHING - {IP})


async def test_a_foreign_cluster_config_is_reverted(kubernetes: Kubernetes, mesh_etcd: RunningEtcd) -> None:
    async with exporting(kubernetes, mesh_etcd), connect_etcd(config(mesh_etcd)) as somebody:
        await wait_stored(mesh_etcd, EVERYTHING)
        await somebody.put(CONFIG, b'{"id":9}')
        await eventually(lambda: holds(somebody, CONFIG, CONFIG_VALUE))


async def holds(backend: EtcdBackend, key: bytes, value: bytes) -> bool:
    pair = await backend.get(key)
    return pair is not None and pair.value == value


async def test_emptied_keys_are_all_written_again_data_before_canaries(
    kubernetes: Kubernetes, mesh_etcd: RunningEtcd
) -> None:
    async with exporting(kubernetes, mesh_etcd), connect_etcd(config(mesh_etcd)) as somebody:
        await wait_stored(mesh_etcd, EVERYTHING)
        await somebody.delete_prefix(b"")
        assert_data_before_canaries(await wait_stored(mesh_etcd, EVERYTHING))


async def test_a_new_empty_etcd_behind_the_same_address_gets_everything(
    kubernetes: Kubernetes, mesh_etcd: RunningEtcd
) -> None:
    async with exporting(kubernetes, mesh_etcd) as publisher:
        await wait_stored(mesh_etcd, EVERYTHING)
        mesh_etcd.restart(empty=True)
        pairs = await wait_stored(mesh_etcd, EVERYTHING, RECOVERY_SECONDS)
        assert_data_before_canaries(pairs)
        assert publisher.report().kvstore_sessions >= 2


async def test_an_etcd_that_was_away_for_a_moment_keeps_the_keys_and_gets_the_changes(
    kubernetes: Kubernetes, client: Client, mesh_etcd: RunningEtcd
) -> None:
    async with exporting(kubernetes, mesh_etcd):
        await wait_stored(mesh_etcd, EVERYTHING)
        mesh_etcd.stop()
        await client.delete(CILIUMENDPOINT, "web-0", "shop")
        mesh_etcd.start()
        await wait_stored(mesh_etcd, EVERYTHING - {IP}, RECOVERY_SECONDS)


async def test_a_restarted_kubernetes_api_is_followed_again_and_nothing_is_deleted_meanwhile(
    etcds: Callable[..., RunningEtcd], tmp_path: Path, mesh_etcd: RunningEtcd
) -> None:
    api = Kubernetes(etcds("kube").endpoint, tmp_path)
    async with AsyncExitStack() as first_life:
        await first_life.enter_async_context(api.serving())
        async with with_kinds(api) as client:
            await create_everything(client)
        async with exporting(api, mesh_etcd):
            await wait_stored(mesh_etcd, EVERYTHING)
            await first_life.aclose()
            assert (await stored(mesh_etcd)).keys() == EVERYTHING
            async with api.serving(), connect_kubernetes(api.access) as client:
                await client.delete(CILIUMENDPOINT, "web-0", "shop")
                await wait_stored(mesh_etcd, EVERYTHING - {IP}, RECOVERY_SECONDS)


async def test_compacted_history_is_bridged_by_a_new_listing(
    etcds: Callable[..., RunningEtcd], tmp_path: Path, mesh_etcd: RunningEtcd
) -> None:
    api = Kubernetes(etcds("kube").endpoint, tmp_path)
    async with AsyncExitStack() as first_life:
        await first_life.enter_async_context(api.serving())
        async with with_kinds(api) as client:
            await create_everything(client)
        async with exporting(api, mesh_etcd):
            await wait_stored(mesh_etcd, EVERYTHING)
            await first_life.aclose()
            async with api.serving() as server, connect_kubernetes(api.access) as client:
                await client.delete(CILIUMNODE, "worker-1")
                server.compact()
                await wait_stored(mesh_etcd, EVERYTHING - {NODE}, RECOVERY_SECONDS)


async def test_two_endpoints_that_claim_one_address_take_turns(
    kubernetes: Kubernetes, client: Client, mesh_etcd: RunningEtcd
) -> None:
    async with exporting(kubernetes, mesh_etcd), connect_etcd(config(mesh_etcd)) as reader:
        await wait_stored(mesh_etcd, EVERYTHING)
        await client.create(CILIUMENDPOINT, o.endpoint_body("web-1", "10.3.1.44", "fd00::44"))
        await wait_stored(mesh_etcd, EVERYTHING | {b"cilium/state/ip/v1/default/fd00::44"})
        assert await owner_of(reader, IP) == "web-0"
        await client.delete(CILIUMENDPOINT, "web-0", "shop")

        async def is_the_second() -> bool:
            return await owner_of(reader, IP) == "web-1"

        await eventually(is_the_second)
        await client.delete(CILIUMENDPOINT, "web-1", "shop")
        await wait_stored(mesh_etcd, EVERYTHING - {IP})


async def owner_of(backend: EtcdBackend, key: bytes) -> str:
    pair = await backend.get(key)
    assert pair is not None
    return str(json.loads(pair.value)["K8sPodName"])
