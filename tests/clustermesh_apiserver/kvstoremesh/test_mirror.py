"""Our etcd holds what the peers' etcds hold, byte for byte, whatever happens to either."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import aiohttp
import msgspec

from aiokit.wait import eventually
from clustermesh_apiserver.kvstoremesh.report import clusters
from kvstore.etcd import EtcdBackend
from kvstore.etcd import connect as connect_etcd
from kvstore.watch import Changes
from mesh.keys import CONFIG_PREFIX, Kind, cache_prefix, cluster_config, synced_key, synced_prefix
from tests.clustermesh_apiserver.etcd import config, stored
from tests.clustermesh_apiserver.kvstoremesh.conftest import Mirroring
from tests.clustermesh_apiserver.kvstoremesh.source import (
    OLD_KINDS,
    Source,
    announced,
    cached,
    canaries,
    copy_of,
    entries,
)
from tests.conftest import RunningEtcd
from tests.kvstore.test_syncstore import no_space

HISTORY = entries(b"first")


async def test_every_kind_is_copied_byte_for_byte_and_followed(mirroring: Mirroring, west: Source) -> None:
    now = entries()
    await west.publish(now)
    mirroring.add(west)
    async with mirroring.running():
        await mirroring.wait_copied("west", now)
        now[Kind.IPS][b"late"] = b"\x80 not text \n"
        del now[Kind.NODES][b"plain"]
        await west.put(Kind.IPS, b"late", b"\x80 not text \n")
        await west.delete(Kind.NODES, b"plain")
        await mirroring.wait_copied("west", now)


async def test_the_config_stands_before_the_entries_and_they_before_their_canary(
    mirroring: Mirroring, west: Source
) -> None:
    await west.publish(HISTORY)
    mirroring.add(west)
    async with mirroring.running():
        await mirroring.wait_copied("west", HISTORY)
    found = await stored(mirroring.own)
    said = msgspec.json.decode(found[cluster_config("west")].value)
    assert said["id"] == 2
    assert said["capabilities"]["cached"] is True and said["capabilities"]["syncedCanaries"] is True
    assert said["capabilities"]["serviceExportsEnabled"] is True
    async with connect_etcd(config(mirroring.own)) as backend:
        created = {pair.key: pair.mod_revision for pair in await backend.get_prefix(b"cilium/")}
    for kind in Kind:
        last = max(created[cache_prefix(kind, "west") + suffix] for suffix in HISTORY[kind])
        assert created[cluster_config("west")] < last < created[synced_key(kind, "west", cached=True)]
        assert found[cache_prefix(kind, "west") + b"plain"].value == b"first"


async def test_kinds_that_a_peer_does_not_have_are_empty_and_announced(
    mirroring: Mirroring, west: Source
) -> None:
    await west.publish(HISTORY, config_value=OLD_KINDS)
    mirroring.add(west)
    missing = {Kind.ENDPOINTSLICES, Kind.SERVICEEXPORTS}
    async with mirroring.running():
        await mirroring.wait_copied("west", {kind: HISTORY[kind] for kind in Kind if kind not in missing})


async def test_a_stopped_peer_blanks_nothing_and_an_emptied_one_is_believed_once_it_is_complete(
    mirroring: Mirroring, west: Source
) -> None:
    await west.publish(HISTORY)
    mirroring.add(west)
    async with mirroring.running() as mesh:
        await mirroring.wait_copied("west", HISTORY)
        west.etcd.stop()
        await eventually(lambda: not mesh.report().remotes[0].status.connected)
        assert await cached(mirroring.own, "west") == copy_of(HISTORY, "west")
        west.etcd.restart(empty=True)
        await eventually(lambda: mesh.report().remotes[0].status.connected)
        assert await cached(mirroring.own, "west") == copy_of(HISTORY, "west")
        second = {kind: {b"other": b"second"} for kind in Kind}
        await west.publish(second)
        await mirroring.wait_copied("west", second)


async def test_a_local_etcd_that_is_replaced_gets_everything_again(
    mirroring: Mirroring, west: Source
) -> None:
    await west.publish(HISTORY)
    mirroring.add(west)
    async with mirroring.running():
        await mirroring.wait_copied("west", HISTORY)
        mirroring.own.restart(empty=True)
        await mirroring.wait_copied("west", HISTORY, 30.0)
        assert cluster_config("west") in await stored(mirroring.own)


async def test_a_local_etcd_that_somebody_empties_gets_everything_again(
    mirroring: Mirroring, west: Source
) -> None:
    await west.publish(HISTORY)
    mirroring.add(west)
    async with mirroring.running():
        await mirroring.wait_copied("west", HISTORY)
        async with connect_etcd(config(mirroring.own)) as backend:
            for prefix in (b"cilium/cache/", synced_prefix("west"), CONFIG_PREFIX):
                await backend.delete_prefix(prefix)
        await mirroring.wait_copied("west", HISTORY, 30.0)
        assert cluster_config("west") in await stored(mirroring.own)


async def test_lost_leases_take_nothing_away_for_long(mirroring: Mirroring, west: Source) -> None:
    await west.publish(HISTORY)
    mirroring.add(west)
    async with mirroring.running():
        await mirroring.wait_copied("west", HISTORY)
        leases = {pair.lease for key, pair in (await stored(mirroring.own)).items() if b"-lock/" not in key}
        async with connect_etcd(config(mirroring.own)) as backend:
            for lease in leases:
                await backend.lease_revoke(lease)
        await mirroring.wait_copied("west", HISTORY, 30.0)
        await eventually(lambda: _has(mirroring, cluster_config("west")))


async def test_a_second_life_keeps_the_first_ones_copies_while_the_peer_is_away(
    mirroring: Mirroring, west: Source
) -> None:
    await west.publish(HISTORY)
    mirroring.add(west)
    async with mirroring.running():
        await mirroring.wait_copied("west", HISTORY)
    west.etcd.stop()
    before = {pair.lease for key, pair in (await stored(mirroring.own)).items() if b"/cache/" in key}
    async with mirroring.running() as mesh:
        await eventually(lambda: bool(mesh.report().remotes) and mesh.report().remotes[0].is_stored)
        assert await cached(mirroring.own, "west") == copy_of(HISTORY, "west")
        assert await announced(mirroring.own, "west") == canaries("west", cached=True)
        found = await stored(mirroring.own)
        assert before.isdisjoint(
            pair.lease for key, pair in found.items() if key.startswith(b"cilium/cache/")
        )
        west.etcd.start()
        await west.delete(Kind.IPS, b"plain")
        now = entries()
        del now[Kind.IPS][b"plain"]
        await mirroring.wait_copied("west", now)


async def _renewals(etcd: RunningEtcd) -> float:
    """How often leases were kept alive."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{etcd.endpoint}/metrics") as answer:
        text = await answer.text()
    return float(re.findall(r"^etcd_debugging_lease_renewed_total (\S+)$", text, re.MULTILINE)[0])


async def test_a_second_life_keeps_what_an_etcd_without_space_has_and_fills_it_up_once_there_is_room(
    mirroring: Mirroring, west: Source
) -> None:
    """Without space no lease can be had: the copies would end with the first life's."""
    await west.publish(HISTORY)
    mirroring.add(west)
    async with mirroring.running():
        await mirroring.wait_copied("west", HISTORY)
    before = {pair.lease for key, pair in (await stored(mirroring.own)).items() if b"/cache/" in key}
    await no_space(mirroring.own, "ACTIVATE")
    renewed = await _renewals(mirroring.own)
    async with mirroring.running():

        async def are_renewed() -> bool:
            return await _renewals(mirroring.own) >= renewed + len(before)

        await eventually(are_renewed, 15.0)
        await mirroring.wait_copied("west", HISTORY)
        await no_space(mirroring.own, "DEACTIVATE")
        await west.put(Kind.IPS, b"late", b"x")
        now = entries(b"first")
        now[Kind.IPS][b"late"] = b"x"
        await mirroring.wait_copied("west", now)


async def test_a_removed_cluster_loses_its_config_at_once_and_its_entries_after_the_grace(
    mirroring: Mirroring, west: Source
) -> None:
    await west.publish(HISTORY)
    mirroring.add(west)
    async with mirroring.running():
        await mirroring.wait_copied("west", HISTORY)
        mirroring.remove(west)

        async def has_no_config() -> bool:
            return cluster_config("west") not in await stored(mirroring.own)

        await eventually(has_no_config)
        assert await cached(mirroring.own, "west") == copy_of(HISTORY, "west")
        mirroring.add(west)  # back within the grace: nothing is lost
        await mirroring.wait_copied("west", HISTORY)
        await eventually(lambda: _has(mirroring, cluster_config("west")))
        mirroring.remove(west)
        await eventually(lambda: _has_nothing(mirroring, "west"))


async def test_clusters_of_an_earlier_life_that_nobody_configures_are_cleaned_up(
    mirroring: Mirroring, west: Source
) -> None:
    await west.publish(HISTORY)
    mirroring.add(west)
    async with mirroring.running():
        await mirroring.wait_copied("west", HISTORY)
    mirroring.remove(west)
    async with mirroring.running():
        await eventually(lambda: _has_nothing(mirroring, "west"))


async def test_a_second_cluster_with_the_same_id_is_refused_and_disturbs_nothing(
    mirroring: Mirroring, west: Source, etcds: Callable[..., RunningEtcd]
) -> None:
    twin = Source(etcds("twin"), "twin", west.number)
    await west.publish(HISTORY)
    await twin.publish(entries(b"twin"))
    mirroring.add(west)
    async with mirroring.running() as mesh:
        await mirroring.wait_copied("west", HISTORY)
        mirroring.add(twin)
        await eventually(lambda: "already used by west" in str(clusters(mesh.report())))
        assert await cached(mirroring.own, "twin") == {}
        assert await cached(mirroring.own, "west") == copy_of(HISTORY, "west")


async def test_of_two_replicas_one_writes_and_the_other_takes_over(
    mirroring: Mirroring, west: Source
) -> None:
    await west.publish(HISTORY)
    mirroring.add(west)
    async with mirroring.running(shares_store=True) as second:
        async with mirroring.running(shares_store=True) as first:
            await eventually(lambda: first.report().is_leading or second.report().is_leading)
            await mirroring.wait_copied("west", HISTORY)
            assert first.report().is_leading != second.report().is_leading
        await eventually(lambda: second.report().is_leading)
        await west.put(Kind.NODES, b"late", b"later")
        now = entries()
        now[Kind.NODES][b"late"] = b"later"
        await mirroring.wait_copied("west", now)


async def test_a_replica_of_a_peer_takes_over_and_nothing_is_missing_meanwhile(
    mirroring: Mirroring, etcds: Callable[..., RunningEtcd]
) -> None:
    """Each replica has an etcd of its own with the same entries, as Cilium's replicas do."""
    replicas = [Source(etcds(name), "west", 2) for name in ("west-1", "west-2")]
    now = entries(b"first")
    for replica in replicas:
        await replica.publish(now)
    endpoints = ", ".join(f"http://{replica.etcd.endpoint}" for replica in replicas)
    (mirroring.directory / "west").write_text(f"endpoints: [{endpoints}]\n")
    removed: list[bytes] = []

    async def note_removals(backend: EtcdBackend) -> None:
        async with backend.listwatch(b"cilium/cache/") as events:
            async for event in events:
                if isinstance(event, Changes):
                    removed.extend(key for key, value in event.changes if value is None)

    async with mirroring.running(), connect_etcd(config(mirroring.own)) as backend:
        await mirroring.wait_copied("west", now)
        async with asyncio.TaskGroup() as group:
            noting = group.create_task(note_removals(backend), name="removals")
            for gone, there in (replicas, replicas[::-1]):  # whichever is read, it goes away once
                gone.etcd.stop()
                now[Kind.IPS][gone.etcd.name.encode()] = b"written while the other was away"
                await there.publish(now)
                await mirroring.wait_copied("west", now, 30)
                gone.etcd.start()
                await gone.publish(now)
            noting.cancel()
    assert removed == []


async def test_a_configurations_copy_that_somebody_deletes_is_written_again(
    mirroring: Mirroring, west: Source
) -> None:
    await west.publish(HISTORY)
    mirroring.add(west)
    key = cluster_config("west")
    async with mirroring.running():
        await mirroring.wait_copied("west", HISTORY)
        async with connect_etcd(config(mirroring.own)) as backend:
            await backend.delete(key)
        await eventually(lambda: _has(mirroring, key))
        await mirroring.wait_copied("west", HISTORY)


async def _has(mirroring: Mirroring, key: bytes) -> bool:
    return key in await stored(mirroring.own)


async def _has_nothing(mirroring: Mirroring, name: str) -> bool:
    return not any(name.encode() in key for key in await stored(mirroring.own))
