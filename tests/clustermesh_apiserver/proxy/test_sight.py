"""What a peer may not see looks empty to it, at once when the file says so, and comes back when it may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from aiokit.wait import eventually
from certs import profile
from clustermesh_apiserver.proxy.access import AccessError
from clustermesh_apiserver.proxy.method import RANGE, WATCH
from clustermesh_apiserver.proxy.sight import Sight, parse
from kvstore import messages as m
from mesh.keys import Kind, state_prefix
from peering.rules import EVERYTHING
from tests.clustermesh_apiserver.proxy.conftest import Mesh, a_mesh
from tests.clustermesh_apiserver.proxy.test_revocation import no_sweep, write
from tests.clustermesh_apiserver.proxy.test_serve import page
from tests.clustermesh_apiserver.proxy.test_watch import answer, create, put
from tests.conftest import RunningEtcd

__all__ = ["no_sweep"]
WEST, NORTH = profile.remote("west"), profile.remote("north")
SERVICES, NODES = state_prefix(Kind.SERVICES, "east"), state_prefix(Kind.NODES, "east")
ALL = "peers: []\n"
ONLY_NODES = "peers: [{name: west, see: [nodes]}]\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"peers: [{name: west, see: [pods]}]", "'pods'"),
        (b"peers: [{name: west}]", "see"),
        (b"peers: [{name: West, see: []}]", "must be lower-case"),
        (b"peers: [{name: west, see: []}, {name: west, see: []}]", "west is there twice"),
        (b"default: []\ndefault: []", "line 2"),
        (b"colour: red", "colour"),
    ],
)
def test_a_file_that_says_what_it_may_not_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(AccessError, match=reason):
        parse(text)


def test_everybody_sees_everything_unless_the_file_says_otherwise() -> None:
    assert parse(b"") == Sight()
    found = parse(b"default: [nodes]\npeers: [{name: west, see: [nodes, ip]}]")
    assert found.of("remote-west") == {Kind.NODES, Kind.IPS}
    assert found.of("remote") == found.of("remote-north") == {Kind.NODES}
    assert parse(b"peers: [{name: west, see: []}]").of("remote") == EVERYTHING


def with_sight(etcd: RunningEtcd, folder: Path, path: Path) -> AbstractAsyncContextManager[Mesh]:
    return a_mesh(etcd, folder, lambda config: replace(config, sight_path=path))


@pytest.fixture
async def seen(etcd: RunningEtcd, tmp_path: Path, no_sweep: None) -> AsyncIterator[Mesh]:
    path = tmp_path / "see" / "see.yaml"
    path.parent.mkdir()
    write(path, ALL)
    async with with_sight(etcd, tmp_path, path) as mesh:
        for prefix in (SERVICES, NODES):
            await put(mesh, prefix.decode() + "a", "1")
        async with mesh.channel(WEST) as channel:
            await eventually(lambda: is_seen(channel, SERVICES))
        yield mesh


async def listed(channel: Any, prefix: bytes) -> list[bytes]:
    request = m.RangeRequest(key=prefix, range_end=prefix[:-1] + b"0").SerializeToString()
    raw = await channel.unary_unary(RANGE.path)(request, timeout=5)
    return [pair.key for pair in m.RangeResponse.FromString(raw).kvs]


async def is_seen(channel: Any, prefix: bytes) -> bool:
    try:
        return bool(await listed(channel, prefix))
    except grpc.aio.AioRpcError:
        return False


async def watching(channel: Any, *prefixes: bytes, revision: int = 0) -> Any:
    stream = channel.stream_stream(WATCH.path)()
    for prefix in prefixes:
        await stream.write(create(prefix, prefix[:-1] + b"0", start_revision=revision))
        assert (await answer(stream)).created
    return stream


async def test_a_grant_that_goes_ends_just_those_watches_as_if_compacted_and_the_next_list_is_empty(
    seen: Mesh,
) -> None:
    async with seen.channel(WEST) as west, seen.channel(NORTH) as north:
        of_west, of_north = await watching(west, NODES, SERVICES), await watching(north, SERVICES)
        write(seen.folder / "see/see.yaml", ONLY_NODES)
        over = await answer(of_west)
        assert (over.watch_id, over.canceled, over.compact_revision > 0) == (1, True, True)
        assert await listed(west, SERVICES) == []
        assert await listed(west, NODES) == [NODES + b"a"]
        await of_west.write(create(SERVICES, SERVICES[:-1] + b"0"))
        assert (await answer(of_west)).created
        await put(seen, SERVICES.decode() + "b", "2")
        await put(seen, NODES.decode() + "b", "2")
        assert [event.kv.key for event in (await answer(of_west)).events] == [NODES + b"b"]
        assert [event.kv.key for event in (await answer(of_north)).events] == [SERVICES + b"b"]
    _, text = await page(seen.proxy.health_port, "/metrics")
    assert 'clustermesh_proxy_hidden_total{client="remote-west",method="Range"} 1.0' in text
    assert 'clustermesh_proxy_hidden_total{client="remote-west",method="Watch"} 1.0' in text


async def test_a_grant_that_comes_ends_the_silent_watch_so_that_its_reader_lists(seen: Mesh) -> None:
    async with seen.channel(WEST) as west:
        write(seen.folder / "see/see.yaml", ONLY_NODES)
        await eventually(lambda: _not(is_seen(west, SERVICES)))
        silent = await watching(west, SERVICES)
        write(seen.folder / "see/see.yaml", ALL)
        assert (await answer(silent)).compact_revision > 0
        assert await listed(west, SERVICES) == [SERVICES + b"a"]


async def _not(what: Any) -> bool:
    return not await what


async def test_who_goes_on_from_before_the_change_is_told_to_list_again(seen: Mesh) -> None:
    """A client that was away meanwhile resumes by revision, and would never hear of the change."""
    async with seen.channel(WEST) as west, seen.channel(NORTH) as north:
        revision = (await answer_of_range(west)).header.revision + 1
        write(seen.folder / "see/see.yaml", ONLY_NODES)
        await eventually(lambda: _not(is_seen(west, SERVICES)))
        resumed = await watching(west, SERVICES, revision=revision)
        assert (await answer(resumed)).compact_revision > 0
        await put(seen, NODES.decode() + "c", "3")
        others = await watching(north, SERVICES, revision=revision)
        await put(seen, SERVICES.decode() + "c", "3")
        assert [event.kv.key for event in (await answer(others)).events] == [SERVICES + b"c"]


async def test_a_change_while_no_proxy_ran_is_noticed_and_a_mere_restart_costs_no_list(
    etcd: RunningEtcd, tmp_path: Path
) -> None:
    path = tmp_path / "see" / "see.yaml"
    path.parent.mkdir()
    resumed = []
    revision = 0
    for text in (ALL, ALL, ONLY_NODES):
        write(path, text)
        async with with_sight(etcd, tmp_path, path) as mesh, mesh.channel(WEST) as west:
            await eventually(lambda west=west: is_marked(west))
            revision = revision or (await answer_of_range(west)).header.revision + 1
            stream = await watching(west, SERVICES, revision=revision)
            await put(mesh, SERVICES.decode() + "new", text)
            resumed.append((await answer(stream)).compact_revision > 0)
    assert resumed == [False, False, True]


async def is_marked(channel: Any) -> bool:
    """A watch from the present on is one of the present view."""
    try:
        revision = (await answer_of_range(channel)).header.revision + 1
    except grpc.aio.AioRpcError:
        return False
    stream = await watching(channel, SERVICES, revision=revision)
    await stream.write(create(b"cilium/.heartbeat", b""))
    is_over = (await answer(stream)).canceled
    stream.cancel()
    return not is_over


async def answer_of_range(channel: Any) -> m.RangeResponse:
    request = m.RangeRequest(key=b"cilium/.heartbeat").SerializeToString()
    return m.RangeResponse.FromString(await channel.unary_unary(RANGE.path)(request, timeout=5))


async def test_etcdctl_lists_nothing_watches_nothing_and_is_refused_nothing(seen: Mesh) -> None:
    write(seen.folder / "see/see.yaml", "default: [nodes]\n")
    async with seen.channel(profile.remote()) as shared:
        await eventually(lambda: _not(is_seen(shared, SERVICES)))
    found = await seen.as_client(profile.remote(), "get", "--prefix", "--keys-only", SERVICES.decode())
    assert (found.status, found.out.strip()) == (0, b"")
    wide = await seen.as_client(profile.remote(), "get", "--prefix", "cilium/state/")
    assert "permission denied" in wide.err


async def test_a_bad_file_changes_nothing(seen: Mesh, caplog: pytest.LogCaptureFixture) -> None:
    async with seen.channel(WEST) as west:
        write(seen.folder / "see/see.yaml", ONLY_NODES)
        await eventually(lambda: _not(is_seen(west, SERVICES)))
        write(seen.folder / "see/see.yaml", "peers: [{name: west, see: [everything]}]\n")
        await eventually(lambda: "file not usable" in caplog.text)
        assert await listed(west, SERVICES) == []


async def test_a_proxy_that_begins_with_a_bad_file_lets_no_peer_in(etcd: RunningEtcd, tmp_path: Path) -> None:
    """Everything would be too much, and nothing would empty the peers."""
    path = tmp_path / "see" / "see.yaml"
    path.parent.mkdir()
    write(path, "nonsense: []\n")
    async with with_sight(etcd, tmp_path, path) as mesh, mesh.channel(WEST) as west:
        with pytest.raises(grpc.aio.AioRpcError, match="permission denied"):
            await listed(west, NODES)
        write(path, ALL)

        async def is_let_in() -> bool:
            with_error = await asyncio.gather(listed(west, NODES), return_exceptions=True)
            return with_error == [[]]

        await eventually(is_let_in)
