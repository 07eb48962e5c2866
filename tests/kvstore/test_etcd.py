"""What only happens to a real connection: faults of the server, the network and the certificates."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from aiokit.wait import eventually
from kvstore.config import EtcdConfig, HostAlias
from kvstore.errors import ClusterChangedError, CompactedError, TransientError
from kvstore.etcd import EtcdBackend, connect
from kvstore.watch import Listed
from tests.conftest import RunningEtcd, free_port
from tests.kvstore.certificates import Authority, server_arguments
from tests.kvstore.following import mirroring

# random.Random(0) keeps the order of two endpoints, so that the dead one is tried first
IN_ORDER = 0


def plain(*servers: RunningEtcd) -> EtcdConfig:
    return EtcdConfig(tuple(server.endpoint for server in servers))


async def refused_then_read(backend: EtcdBackend) -> None:
    """Wait until a read succeeds; what failed meanwhile must have failed as a TransientError."""

    async def reads() -> bool:
        try:
            await backend.get(b"a")
        except TransientError:
            return False
        return True

    await eventually(reads)


async def test_nothing_is_dialled_before_the_first_call(etcd: RunningEtcd) -> None:
    async with connect(plain(etcd)) as backend:
        before = backend.status()
        await backend.get(b"a")
        after = backend.status()

    assert (before.connected, before.cluster_id) == (False, 0)
    assert (after.connected, after.endpoint, after.error) == (True, etcd.endpoint, "")
    assert after.cluster_id == backend.cluster_id != 0


async def test_an_absent_server_is_a_transient_error_that_names_it() -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    async with connect(EtcdConfig((endpoint,))) as backend:
        with pytest.raises(TransientError, match=rf"{endpoint}: .*refused"):
            await backend.get(b"a")

        assert endpoint in backend.status().error


async def test_a_dead_first_endpoint_is_passed_over(etcd: RunningEtcd) -> None:
    config = EtcdConfig((f"127.0.0.1:{free_port()}", etcd.endpoint))
    chance = random.Random(IN_ORDER)
    async with connect(config, chance=chance) as backend:
        await backend.put(b"a", b"")

        assert backend.status().endpoint == etcd.endpoint


async def test_a_server_that_went_away_shows_in_the_status(etcd: RunningEtcd) -> None:
    async with connect(plain(etcd)) as backend:
        await backend.get(b"a")
        etcd.stop()
        await eventually(lambda: not backend.status().connected)
        with pytest.raises(TransientError):
            await backend.get(b"a")

        assert etcd.endpoint in backend.status().error


async def test_a_closed_backend_does_not_dial_again(etcd: RunningEtcd) -> None:
    async with connect(plain(etcd)) as backend:
        await backend.get(b"a")
    with pytest.raises(TransientError, match="closed"):
        await backend.get(b"a")


async def test_a_killed_and_restarted_etcd_is_followed_again(etcd: RunningEtcd) -> None:
    async with connect(plain(etcd)) as backend, mirroring(backend, b"p/") as mirror:
        await eventually(lambda: mirror.synced == 1)
        await backend.put(b"p/1", b"")
        await eventually(lambda: mirror.entries == {b"1": b""})  # came by the stream: it stands
        etcd.restart()  # kill -9: the stream breaks without a word
        async with connect(plain(etcd)) as other:
            await other.delete(b"p/1")
            await other.put(b"p/2", b"")

        await eventually(lambda: mirror.synced >= 2 and mirror.entries == {b"2": b""})


async def test_an_etcd_replaced_by_an_empty_one_is_not_mistaken_for_the_old(etcd: RunningEtcd) -> None:
    async with connect(plain(etcd)) as backend:
        await backend.put(b"p/1", b"")
        with pytest.raises(ExceptionGroup) as caught:
            async with mirroring(backend, b"p/") as mirror:
                await eventually(lambda: mirror.synced == 1)
                etcd.restart(empty=True)
                async with asyncio.timeout(10):
                    await asyncio.Event().wait()

        assert caught.group_contains(ClusterChangedError)
        assert mirror.entries == {b"1": b""}  # unknown is not empty
        with pytest.raises(ClusterChangedError):
            await backend.get(b"p/1")


async def test_compaction_while_disconnected_ends_in_a_new_list(etcd: RunningEtcd) -> None:
    async with connect(plain(etcd)) as backend, mirroring(backend, b"p/") as mirror:
        await backend.put(b"p/1", b"")
        await eventually(lambda: mirror.entries == {b"1": b""})
        etcd.restart()
        async with connect(plain(etcd)) as other:
            await other.delete(b"p/1")
            # a put comes last: etcd before 3.4.34 loses a deletion at the very revision of a compaction
            await other.put(b"p/2", b"")
            pair = await other.get(b"p/2")
            assert pair is not None
            await other.compact(pair.mod_revision)

        await eventually(lambda: mirror.entries == {b"2": b""})


async def test_history_compacted_between_list_and_watch_is_told_as_such(etcd: RunningEtcd) -> None:
    async with connect(plain(etcd)) as backend, backend.listwatch(b"p/") as events:
        while not isinstance(event := await anext(events), Listed):
            pass
        for _ in range(5):
            await backend.put(b"p/1", b"")
        await backend.compact(event.revision + 4)
        with pytest.raises(CompactedError):
            await anext(events)


async def test_a_link_in_doubt_is_not_cut_under_its_other_users(etcd: RunningEtcd) -> None:
    async with connect(plain(etcd)) as backend, mirroring(backend, b"p/") as mirror:
        await eventually(lambda: mirror.synced == 1)
        async with backend.listwatch(b"q/") as events:
            await anext(events)
            (link,) = backend._links._open
            backend._links.retire(link, "as if a call had timed out")
        await backend.put(b"p/1", b"")  # on a new link

        await eventually(lambda: mirror.entries == {b"1": b""})
        assert mirror.synced == 1
        assert len(backend._links._open) == 2
    assert not backend._links._open


async def test_mutual_tls_with_a_host_alias(etcds: Callable[..., RunningEtcd], tmp_path: Path) -> None:
    authority = Authority("mesh")
    server = etcds("secure", *server_arguments(authority, tmp_path, "*.mesh.cilium.io"))
    config = EtcdConfig(
        endpoints=(f"https://east.mesh.cilium.io:{server.port}",),
        host_aliases=(HostAlias("east.mesh.cilium.io", ("127.0.0.1",)),),
        **authority.client_files(tmp_path),
    )
    async with connect(config) as backend:
        await backend.put(b"a", b"1")
        pair = await backend.get(b"a")

        assert pair is not None and pair.value == b"1"
        assert backend.status().endpoint == f"east.mesh.cilium.io:{server.port} at 127.0.0.1:{server.port}"


async def test_a_server_of_another_authority_is_refused_with_a_reason(
    etcds: Callable[..., RunningEtcd], tmp_path: Path
) -> None:
    server = etcds("secure", *server_arguments(Authority("theirs"), tmp_path, "localhost"))
    config = EtcdConfig((f"https://localhost:{server.port}",), **Authority("ours").client_files(tmp_path))
    async with connect(config) as backend, asyncio.timeout(10):
        with pytest.raises(TransientError, match=r"CERTIFICATE_VERIFY_FAILED"):
            await backend.get(b"a")


async def test_a_client_of_another_authority_is_told_so(
    etcds: Callable[..., RunningEtcd], tmp_path: Path
) -> None:
    theirs = Authority("theirs")
    server = etcds("secure", *server_arguments(theirs, tmp_path, "localhost"))
    files = Authority("ours").client_files(tmp_path)
    files["trusted_ca_file"] = tmp_path / "server-ca.crt"
    async with (
        connect(EtcdConfig((f"https://localhost:{server.port}",), **files)) as backend,
        asyncio.timeout(10),
    ):
        with pytest.raises(TransientError, match=r"localhost:\d+"):
            await backend.get(b"a")


async def test_a_server_with_another_name_is_refused_with_a_reason(
    etcds: Callable[..., RunningEtcd], tmp_path: Path
) -> None:
    authority = Authority("mesh")
    server = etcds("secure", *server_arguments(authority, tmp_path, "west.mesh.cilium.io"))
    config = EtcdConfig(
        endpoints=(f"https://east.mesh.cilium.io:{server.port}",),
        host_aliases=(HostAlias("east.mesh.cilium.io", ("127.0.0.1",)),),
        **authority.client_files(tmp_path),
    )
    async with connect(config) as backend, asyncio.timeout(10):
        with pytest.raises(TransientError, match=r"east\.mesh\.cilium\.io"):
            await backend.get(b"a")


async def test_certificates_replaced_on_disk_are_used_from_the_next_connection_on(
    etcds: Callable[..., RunningEtcd], tmp_path: Path
) -> None:
    old, new = Authority("old"), Authority("new")
    server = etcds("secure", *server_arguments(old, tmp_path, "localhost"))
    files = new.client_files(tmp_path)
    config = EtcdConfig((f"https://localhost:{server.port}",), **files)
    async with connect(config) as backend:
        with pytest.raises(TransientError):
            await backend.get(b"a")
        old.client_files(tmp_path)  # the same file names
        await refused_then_read(backend)

        assert backend.status().connected


async def test_a_missing_certificate_file_is_named(tmp_path: Path) -> None:
    config = EtcdConfig(("https://localhost:1",), trusted_ca_file=tmp_path / "absent.crt")
    async with connect(config) as backend:
        with pytest.raises(TransientError, match=r"absent.crt: No such file"):
            await backend.get(b"a")


async def test_a_name_that_leads_elsewhere_later_is_followed_there(
    etcd: RunningEtcd,
) -> None:
    host, _, port = etcd.endpoint.removeprefix("http://").rpartition(":")
    addresses = ("127.0.0.9",)  # nobody listens there

    def resolve(name: str) -> tuple[str, ...]:
        return addresses if name == "store.default.svc" else ()

    async with connect(EtcdConfig((f"http://store.default.svc:{port}",)), resolve=resolve) as backend:
        with pytest.raises(TransientError, match=r"127\.0\.0\.9"):
            await backend.get(b"a")
        addresses = (host,)

        assert await backend.get(b"a") is None
