"""From objects to keys, against a store that fails on purpose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokit.wait import eventually
from clustermesh_apiserver import exporters
from clustermesh_apiserver.pace import Pace
from clustermesh_apiserver.publisher import Publisher
from clustermesh_apiserver.serve import running
from k8s.resource import (
    CILIUMENDPOINT,
    CILIUMIDENTITY,
    CILIUMNODE,
    ENDPOINTSLICE,
    NAMESPACE,
    SERVICE,
)
from kvstore.backend import ModRevisionIs, Op
from kvstore.digest import Digest
from kvstore.memory import MemoryBackend
from kvstore.watch import Changes, Event, Listing
from tests.clustermesh_apiserver import objects as o
from tests.clustermesh_apiserver.expected import (
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
from tests.clustermesh_apiserver.scripted import ScriptedKubernetes


def a_cluster(kubernetes: ScriptedKubernetes) -> ScriptedKubernetes:
    kubernetes.put(CILIUMNODE, o.node_body())
    kubernetes.put(CILIUMIDENTITY, o.identity_body())
    kubernetes.put(CILIUMENDPOINT, o.endpoint_body())
    kubernetes.put(SERVICE, o.service_body())
    kubernetes.put(ENDPOINTSLICE, o.slice_body("web-1", o.backend("10.3.1.44")))
    kubernetes.put(NAMESPACE, o.namespace_body("shop"))
    return kubernetes


@asynccontextmanager
async def publishing(
    etcd: MemoryBackend,
    kubernetes: ScriptedKubernetes,
    *,
    default_global_namespace: bool = True,
    pace: Pace | None = None,
) -> AsyncIterator[Publisher]:
    @asynccontextmanager
    async def connect() -> AsyncIterator[MemoryBackend]:
        yield etcd.another_client()

    built = exporters.build(o.EAST, kubernetes.follow, default_global_namespace=default_global_namespace)
    publisher = Publisher(connect, o.EAST, built, lease_ttl_seconds=900, pace=pace)
    async with running(publisher, built):
        yield publisher


async def test_all_kinds_are_published_with_a_lease_each() -> None:
    etcd = MemoryBackend()
    async with publishing(etcd, a_cluster(ScriptedKubernetes())) as publisher:
        await eventually(lambda: publisher.report().ready)
        assert set(etcd.entries) == EVERYTHING
        assert etcd.entries[CONFIG] == CONFIG_VALUE
        for key in EVERYTHING:
            pair = await etcd.get(key)
            assert pair is not None and pair.lease, key


async def test_leaving_deletes_nothing() -> None:
    etcd = MemoryBackend()
    async with publishing(etcd, a_cluster(ScriptedKubernetes())) as publisher:
        await eventually(lambda: publisher.report().ready)
    assert set(etcd.entries) == EVERYTHING


async def test_data_come_before_their_canary() -> None:
    etcd = MemoryBackend()
    order = await history(etcd, a_cluster(ScriptedKubernetes()))
    for data, kind in ((NODE, b"nodes"), (IDENTITY, b"identities"), (IP, b"ip"), (SERVICE_KEY, b"services")):
        assert order.index(data) < order.index(b"cilium/synced/east/cilium/state/" + kind + b"/v1")


async def history(etcd: MemoryBackend, kubernetes: ScriptedKubernetes) -> list[bytes]:
    """The keys in the order in which they were written, up to readiness."""
    order: list[bytes] = []
    async with etcd.another_client().listwatch(b"cilium/") as events, publishing(etcd, kubernetes):
        async for event in events:
            match event:
                case Listing(pairs):
                    assert pairs == []
                case Changes(_, changes):
                    order += [key for key, _ in changes]
            if set(order) >= EVERYTHING:
                break
    return order


async def test_nothing_is_published_or_deleted_before_every_source_of_the_kind_is_listed() -> None:
    etcd = MemoryBackend()
    async with publishing(etcd, a_cluster(ScriptedKubernetes())) as publisher:
        await eventually(lambda: publisher.report().ready)
    before = etcd.entries[SERVICE_KEY]

    restarted = a_cluster(ScriptedKubernetes(ENDPOINTSLICE))
    async with publishing(etcd, restarted) as publisher:
        await eventually(lambda: sum(kind.status.synced for kind in publisher.report().kinds) == 4)
        assert etcd.entries[SERVICE_KEY] == before  # not: the same service without backends
        assert SLICE_KEY in etcd.entries
        assert not publisher.report().ready
        restarted.release(ENDPOINTSLICE)
        await eventually(lambda: publisher.report().ready)
    assert etcd.entries[SERVICE_KEY] == before


async def test_what_vanished_while_we_were_away_is_removed_after_the_first_listing() -> None:
    etcd = MemoryBackend()
    async with publishing(etcd, a_cluster(ScriptedKubernetes())) as publisher:
        await eventually(lambda: publisher.report().ready)

    changed = a_cluster(ScriptedKubernetes(CILIUMENDPOINT))
    changed.delete(CILIUMENDPOINT, "shop/web-0")
    changed.delete(CILIUMNODE, "worker-1")
    async with publishing(etcd, changed):
        await eventually(lambda: NODE not in etcd.entries)
        assert IP in etcd.entries
        changed.release(CILIUMENDPOINT)
        await eventually(lambda: IP not in etcd.entries)
    assert set(etcd.entries) == EVERYTHING - {NODE, IP}


async def test_changes_reach_the_keys() -> None:
    etcd, kubernetes = MemoryBackend(), a_cluster(ScriptedKubernetes())
    async with publishing(etcd, kubernetes) as publisher:
        await eventually(lambda: publisher.report().ready)
        kubernetes.put(ENDPOINTSLICE, o.slice_body("web-2", o.backend("10.3.2.9")))
        await eventually(lambda: "10.3.2.9" in json.loads(etcd.entries[SERVICE_KEY])["backends"])
        kubernetes.put(SERVICE, o.service_body(annotations={}))
        await eventually(lambda: SERVICE_KEY not in etcd.entries)
        kubernetes.delete(CILIUMENDPOINT, "shop/web-0")
        await eventually(lambda: IP not in etcd.entries)
        kubernetes.put(NAMESPACE, o.namespace_body("shop", "false"))
        await eventually(lambda: IDENTITY not in etcd.entries)
        assert NODE in etcd.entries


async def test_only_annotated_namespaces_take_part_when_that_is_the_default() -> None:
    etcd, kubernetes = MemoryBackend(), a_cluster(ScriptedKubernetes())
    async with publishing(etcd, kubernetes, default_global_namespace=False) as publisher:
        await eventually(lambda: publisher.report().ready)
        assert set(etcd.entries) == EVERYTHING - {IDENTITY, IP, SERVICE_KEY, SLICE_KEY}
        kubernetes.put(NAMESPACE, o.namespace_body("shop", "true"))
        await eventually(lambda: set(etcd.entries) == EVERYTHING)


async def test_two_endpoints_that_claim_one_address_take_turns() -> None:
    etcd, kubernetes = MemoryBackend(), a_cluster(ScriptedKubernetes())
    async with publishing(etcd, kubernetes) as publisher:
        await eventually(lambda: publisher.report().ready)
        kubernetes.put(CILIUMENDPOINT, o.endpoint_body("web-1", "10.3.1.44"))
        kubernetes.put(CILIUMENDPOINT, o.endpoint_body("web-2", "10.3.1.45"))
        await eventually(lambda: b"cilium/state/ip/v1/default/10.3.1.45" in etcd.entries)
        assert json.loads(etcd.entries[IP])["K8sPodName"] == "web-0"
        kubernetes.delete(CILIUMENDPOINT, "shop/web-0")
        await eventually(lambda: json.loads(etcd.entries[IP])["K8sPodName"] == "web-1")
        kubernetes.delete(CILIUMENDPOINT, "shop/web-1")
        await eventually(lambda: IP not in etcd.entries)


async def test_an_emptied_store_is_filled_again() -> None:
    etcd = MemoryBackend()
    async with publishing(etcd, a_cluster(ScriptedKubernetes())) as publisher:
        await eventually(lambda: publisher.report().ready)
        await etcd.delete_prefix(b"cilium/")
        await eventually(lambda: set(etcd.entries) == EVERYTHING)


class SlowToGuard(MemoryBackend):
    """Lists the synced keys only once the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()

    def another_client(self) -> SlowToGuard:
        return self

    @asynccontextmanager
    async def listwatch(self, prefix: bytes, *, single: bool = False) -> AsyncIterator[AsyncIterator[Event]]:
        if prefix.startswith(b"cilium/synced/"):
            self.asked.set()
            await self.gate.wait()
        async with super().listwatch(prefix, single=single) as events:
            yield events


async def test_no_canary_is_written_before_its_guard_stands() -> None:
    etcd = SlowToGuard()
    async with publishing(etcd, a_cluster(ScriptedKubernetes())):
        await etcd.asked.wait()
        await eventually(lambda: CONFIG in etcd.entries)
        assert not EVERYTHING.intersection(etcd.entries) - {CONFIG, HEARTBEAT}
        etcd.gate.set()
        await eventually(lambda: set(etcd.entries) == EVERYTHING)


async def test_another_etcd_in_the_place_of_ours_gets_everything() -> None:
    etcd = MemoryBackend()
    async with publishing(etcd, a_cluster(ScriptedKubernetes())) as publisher:
        await eventually(lambda: publisher.report().ready)
        etcd.replace_cluster()
        await eventually(lambda: set(etcd.entries) == EVERYTHING)
        assert publisher.report().kvstore_sessions == 2


async def test_replacements_of_etcd_that_were_overcome_do_not_delay_the_next() -> None:
    etcd = MemoryBackend()
    async with publishing(etcd, a_cluster(ScriptedKubernetes())) as publisher:
        await eventually(lambda: publisher.report().ready)
        for _ in range(5):
            etcd.replace_cluster()
            await eventually(lambda: set(etcd.entries) == EVERYTHING, timeout=2.0)


async def test_lost_leases_bring_back_every_key() -> None:
    etcd = MemoryBackend()
    async with publishing(etcd, a_cluster(ScriptedKubernetes())) as publisher:
        await eventually(lambda: publisher.report().ready)
        pair = await etcd.get(NODE)
        assert pair is not None
        etcd.expire(pair.lease)
        await eventually(lambda: set(etcd.entries) == EVERYTHING)
        for key in EVERYTHING:
            again = await etcd.get(key)
            assert again is not None and again.lease not in (0, pair.lease), key


async def test_failing_writes_are_made_again() -> None:
    etcd, kubernetes = MemoryBackend(), a_cluster(ScriptedKubernetes())

    @asynccontextmanager
    async def connect() -> AsyncIterator[MemoryBackend]:
        yield etcd

    built = exporters.build(o.EAST, kubernetes.follow, default_global_namespace=True)
    publisher = Publisher(connect, o.EAST, built, lease_ttl_seconds=900)
    etcd.fail_writes(12)
    etcd.fail_reads(3)
    async with running(publisher, built):
        await eventually(lambda: set(etcd.entries) == EVERYTHING)


async def test_an_object_that_cannot_be_exported_holds_nothing_up_and_is_counted() -> None:
    etcd, kubernetes = MemoryBackend(), a_cluster(ScriptedKubernetes())
    kubernetes.put(CILIUMIDENTITY, o.identity_body(77))
    async with publishing(etcd, kubernetes) as publisher:
        await eventually(lambda: publisher.report().ready)
        assert {kind.scope: kind.refused for kind in publisher.report().kinds}["identities/v1"] == 1
        assert set(etcd.entries) == EVERYTHING


async def test_it_measures_its_traffic_and_says_the_digest_of_what_it_stored() -> None:
    etcd, kubernetes = MemoryBackend(), a_cluster(ScriptedKubernetes())
    async with publishing(etcd, kubernetes) as publisher:
        await eventually(lambda: publisher.report().ready)
        await eventually(lambda: all(kind.status.digest for kind in publisher.report().kinds))
        digests = {kind.scope: kind.status.digest for kind in publisher.report().kinds}
    expected = Digest()
    expected.toggle(b"10.3.1.44", etcd.entries[IP])
    assert digests["ip/v1"] == str(expected)
    assert digests["serviceexports/v1"] == str(Digest())
    assert publisher.meter.propagations["ip/v1", "east"].buckets()[-1] == ("+Inf", 1)
    assert ("ip/v1", "set", "Txn", "success") in publisher.meter.operations


class Gated(MemoryBackend):
    """Writes wait until the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def txn(self, ops: Sequence[Op], guards: Sequence[ModRevisionIs] = ()) -> bool:
        await self.gate.wait()
        return await super().txn(ops, guards)


async def test_what_was_heard_before_the_end_is_still_stored() -> None:
    kubernetes, etcd = a_cluster(ScriptedKubernetes()), Gated()

    @asynccontextmanager
    async def connect() -> AsyncIterator[MemoryBackend]:
        yield etcd

    built = exporters.build(o.EAST, kubernetes.follow, default_global_namespace=True)
    publisher = Publisher(connect, o.EAST, built, lease_ttl_seconds=60)
    async with asyncio.TaskGroup() as group:
        async with running(publisher, built):
            await eventually(lambda: publisher.report().ready)
            etcd.gate.clear()
            kubernetes.put(CILIUMENDPOINT, o.endpoint_body("late", "10.3.1.99"))
            await eventually(lambda: any(kind.status.queued for kind in publisher.report().kinds))
            group.create_task(opened(etcd), name="opened")
        assert b"cilium/state/ip/v1/default/10.3.1.99" in etcd.entries
        assert etcd.entries.keys() >= EVERYTHING


async def opened(etcd: Gated) -> None:
    """Once the end has begun: every task of the exporters was cancelled."""
    await eventually(lambda: not any(t.get_name().startswith("export/") for t in asyncio.all_tasks()))
    etcd.gate.set()
