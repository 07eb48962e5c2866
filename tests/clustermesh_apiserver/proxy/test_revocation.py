"""Clients that were let in and are not any more: their open streams end, and their next call is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509

from aiokit.wait import eventually
from certs import profile
from certs.issue import Authority, Issued
from clustermesh_apiserver.proxy import session
from clustermesh_apiserver.proxy.access import AuthMode
from clustermesh_apiserver.proxy.config import ProxyConfig
from clustermesh_apiserver.proxy.method import RANGE, WATCH
from kvstore import messages as m
from tests.clustermesh_apiserver.proxy.conftest import Mesh, a_mesh, write_secret
from tests.clustermesh_apiserver.proxy.test_fanout import until
from tests.clustermesh_apiserver.proxy.test_serve import page
from tests.clustermesh_apiserver.proxy.test_watch import answer, create, put
from tests.conftest import RunningEtcd

WEST, NORTH = profile.remote("west"), profile.remote("north")
BOTH = "users:\n- {name: remote-west, role: remote}\n- {name: remote-north, role: remote}\n"
ONLY_NORTH = "users:\n- {name: remote-north, role: remote}\n"


def write(path: Path, text: str) -> None:
    """At once, as a ConfigMap is replaced."""
    new = path.with_name(f".{path.name}")
    new.write_text(text)
    new.replace(path)


@pytest.fixture
def no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams end because something has changed, not because it is time to look after them."""
    monkeypatch.setattr(session, "SWEEP_SECONDS", 3600)


@pytest.fixture
async def guarded(etcd: RunningEtcd, tmp_path: Path, no_sweep: None) -> AsyncIterator[Mesh]:
    """In mode `cluster`, with a list of two users and a list of the revoked."""
    folder = tmp_path / "access"
    folder.mkdir()
    write(folder / "users.yaml", BOTH)

    def settings(config: ProxyConfig) -> ProxyConfig:
        paths = {"users_path": folder / "users.yaml", "revoked_path": folder / "revoked.yaml"}
        return replace(config, auth_mode=AuthMode.CLUSTER, **paths)

    async with a_mesh(etcd, tmp_path, settings) as mesh, mesh.channel(WEST) as channel:
        await eventually(lambda: reads(channel))
        yield mesh


async def reads(channel: Any) -> bool:
    request = m.RangeRequest(key=b"cilium/state/a").SerializeToString()
    return await channel.unary_unary(RANGE.path)(request, timeout=5).code() is grpc.StatusCode.OK  # type: ignore[no-any-return]


async def watching(channel: Any) -> Any:
    stream = channel.stream_stream(WATCH.path)()
    await stream.write(create())
    assert (await answer(stream)).created
    return stream


async def is_ended(stream: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="etcdserver: permission denied") as ended:
        await answer(stream)
    assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def lives(mesh: Mesh, stream: Any) -> None:
    await put(mesh, "cilium/state/alive", "1")
    assert (await until(stream, 1))[0][1] == b"1"


async def test_who_leaves_the_list_of_users_is_cut_off_at_once_and_others_are_not(guarded: Mesh) -> None:
    async with guarded.channel(WEST) as west, guarded.channel(NORTH) as north:
        of_west, of_north = await watching(west), await watching(north)
        write(guarded.folder / "access/users.yaml", ONLY_NORTH)
        await is_ended(of_west)
        assert not await reads(west)
        assert await reads(north)
        await lives(guarded, of_north)
        write(guarded.folder / "access/users.yaml", BOTH)
        await eventually(lambda: reads(west))
    _, text = await page(guarded.proxy.health_port, "/metrics")
    assert 'refused_total{client="remote-west",method="Watch",reason="not a user",role="remote"} 1.0' in text


async def test_one_certificate_is_revoked_and_another_of_the_same_name_is_not(guarded: Mesh) -> None:
    issued = guarded.authority.issue(WEST, datetime.now(UTC))
    serial = x509.load_pem_x509_certificate(issued.certificate_pem).serial_number
    async with guarded.channel(WEST, issued=issued) as lost, guarded.channel(WEST) as renewed:
        streams = [await watching(lost), await watching(renewed)]
        write(guarded.folder / "access/revoked.yaml", f'revoked:\n- serial: "{serial:x}"\n')
        await is_ended(streams[0])
        await lives(guarded, streams[1])
        assert (await reads(lost), await reads(renewed)) == (False, True)


async def test_a_revoked_name_is_cut_off_with_every_certificate(guarded: Mesh) -> None:
    async with guarded.channel(WEST) as one, guarded.channel(WEST) as other:
        streams = [await watching(one), await watching(other)]
        write(guarded.folder / "access/revoked.yaml", "revoked:\n- name: remote-west\n")
        for stream in streams:
            await is_ended(stream)


async def test_a_file_that_cannot_be_used_or_is_gone_changes_nothing(
    guarded: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    users = guarded.folder / "access/users.yaml"
    async with guarded.channel(WEST) as west:
        stream = await watching(west)
        write(users, "users:\n- nonsense\n")
        await eventually(lambda: "file not usable" in caplog.text)
        users.unlink()
        await eventually(lambda: f"what it said before counts path={users}" in caplog.text)
        await lives(guarded, stream)
        assert await reads(west)


async def test_the_shared_name_is_not_enough_where_each_cluster_has_its_own(guarded: Mesh) -> None:
    result = await guarded.as_client(profile.remote(), "get", "cilium/.heartbeat")
    assert "permission denied" in result.err


async def test_who_has_its_certificate_from_an_authority_that_is_not_trusted_any_more_is_cut_off(
    no_sweep: None, mesh: Mesh
) -> None:
    new = Authority.create(datetime.now(UTC), name="new")
    write_secret(mesh.cert_dir, server_of(new), mesh.authority, new)
    async with AsyncExitStack() as channels:

        async def connects() -> bool:
            options = {"authority": new, "trusts": [mesh.authority, new]}
            channel = await channels.enter_async_context(mesh.channel(WEST, **options))
            return await reads(channel)

        await eventually(connects)
        options = {"trusts": [mesh.authority, new]}
        old = await channels.enter_async_context(mesh.channel(WEST, **options))
        current = await channels.enter_async_context(mesh.channel(WEST, authority=new, **options))
        of_old, of_current = await watching(old), await watching(current)
        write_secret(mesh.cert_dir, server_of(new), new)
        await is_ended(of_old)
        assert (await reads(old), await reads(current)) == (False, True)
        await lives(mesh, of_current)


def server_of(authority: Authority) -> Issued:
    return authority.issue(profile.server("kube-system"), datetime.now(UTC))


async def test_a_stream_does_not_outlive_its_clients_certificate(mesh: Mesh) -> None:
    async with mesh.channel(WEST, validity=timedelta(seconds=3)) as channel:
        stream = await watching(channel)
        await is_ended(stream)
    _, text = await page(mesh.proxy.health_port, "/metrics")
    assert 'reason="certificate expired",role="remote"} 1.0' in text
