"""A whole rotation under a real proxy process, a real etcd and a reader: what breaks, and what does not."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from aiokit.wait import eventually
from certs import reissue
from certs.check import load_chain
from certs.issue import Authority
from certs.rotation import Step, next_step
from cli import secret
from cli.certs import rotation
from cli.certs.rotation import Member
from kvstore.config import EtcdConfig, HostAlias
from kvstore.errors import KVStoreError
from kvstore.etcd import connect
from kvstore.watch import Event
from tests.conftest import RunningEtcd, free_port

ROOT = Path(__file__).parents[2]
PREFIX = b"cilium/state/ip/v1/default/"
START_SECONDS, EVENT_SECONDS = 20.0, 10.0


def enabled(name: str, authority: Authority) -> Member:
    now = datetime.now(UTC)
    leaves = secret.leaf_secrets(authority, secret.profiles(name, "kube-system"), {}, now)
    return Member(name, secret.ca_data(authority), leaves)


def written(members: list[Member], step: Step) -> list[Member]:
    """The clusters after a step."""
    by_name = {member.name: member for member in members}
    for each in rotation.writes(step, members, datetime.now(UTC)):
        member = by_name[each.member]
        if each.secret in secret.LEAVES:
            assert each.data is not None
            member = replace(member, leaves={**member.leaves, each.secret: each.data})
        elif each.secret == "cilium-ca":
            assert each.data is not None
            member = replace(member, ca=each.data)
        else:
            member = replace(member, record=each.data)
        by_name[each.member] = member
    return list(by_name.values())


def mount(folder: Path, data: secret.Data) -> None:
    """As the kubelet does: one swap of a link for all files."""
    folder.mkdir(exist_ok=True)
    version = folder / f"..{random.getrandbits(64):x}"
    version.mkdir()
    for name, content in data.items():
        (version / name).write_bytes(content)
    link = folder / "..data.new"
    link.symlink_to(version.name)
    link.replace(folder / "..data")
    for name in data:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


async def reloads(health_port: int) -> float:
    """How often the proxy has read its certificates; -1 while it does not answer."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{health_port}/metrics") as answer,
        ):
            text = await answer.text()
    except aiohttp.ClientError:
        return -1.0
    lines = [line for line in text.splitlines() if "certificate_reloads_total{" in line and '"ok"' in line]
    return sum(float(line.split()[-1]) for line in lines)


@asynccontextmanager
async def proxy_process(etcd: RunningEtcd, folder: Path, port: int, health_port: int) -> AsyncIterator[None]:
    with (folder / "proxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "clustermesh_apiserver", "proxy", "--cluster-name=east"),
            *(f"--listen=127.0.0.1:{port}", f"--upstream={etcd.endpoint}"),
            *(f"--cert-dir={folder / 'server'}", f"--health-port={health_port}"),
            cwd=ROOT,
            stderr=log,
        )
    try:

        async def is_up() -> bool:
            return await reloads(health_port) > 0

        await eventually(is_up, START_SECONDS)
        yield
    finally:
        process.kill()
        await process.wait()


def config(folder: Path, port: int) -> EtcdConfig:
    client = folder / "client"
    return EtcdConfig(
        endpoints=(f"https://east.mesh.cilium.io:{port}",),
        trusted_ca_file=client / "ca.crt",
        cert_file=client / "tls.crt",
        key_file=client / "tls.key",
        host_aliases=(HostAlias("east.mesh.cilium.io", ("127.0.0.1",)),),
    )


async def reads(settings: EtcdConfig) -> None:
    """A connection of its own, from a fresh handshake to an answer."""
    async with connect(settings) as fresh:
        await fresh.get_prefix(PREFIX)


async def seen(events: AsyncIterator[Event], key: bytes) -> None:
    async with asyncio.timeout(EVENT_SECONDS):
        async for event in events:
            if key in repr(event).encode():
                return
    raise AssertionError("the stream ended")


async def test_one_stream_lives_until_its_authority_is_forgotten_and_connecting_never_fails(
    etcd: RunningEtcd, tmp_path: Path
) -> None:
    authority = Authority.create(datetime.now(UTC))
    members = [enabled("east", authority), enabled("west", authority)]
    port, health_port = free_port(), free_port()
    settings = config(tmp_path, port)
    directly = EtcdConfig(endpoints=(f"http://{etcd.endpoint}",))

    def follow_files() -> None:
        mount(tmp_path / "client", members[1].leaves[secret.REMOTE])
        mount(tmp_path / "server", members[0].leaves[secret.SERVER])

    follow_files()
    done: list[Step] = []
    async with (
        proxy_process(etcd, tmp_path, port, health_port),
        connect(settings) as reader,
        connect(directly) as own,
    ):
        with pytest.raises(
            KVStoreError
        ):  # the proxy shuts out who came with a certificate of the forgotten authority
            async with reader.listwatch(PREFIX) as events:
                while not done or done[-1] is not Step.FORGET:
                    step = next_step([member.as_cluster() for member in members], timedelta()).step
                    changes_server = any(
                        each.secret == secret.SERVER
                        for each in rotation.writes(step, members, datetime.now(UTC))
                    )
                    members = written(members, step)
                    before = await reloads(health_port)
                    mount(tmp_path / "client", members[1].leaves[secret.REMOTE])
                    await reads(settings)  # the client's files are new, the server's are not
                    mount(tmp_path / "server", members[0].leaves[secret.SERVER])
                    if changes_server:

                        async def has_read(before: float = before) -> bool:
                            return await reloads(health_port) > before

                        await eventually(has_read, EVENT_SECONDS)
                    await reads(settings)
                    done.append(step)
                    key = PREFIX + step.value.encode()
                    await own.put(key, b"{}")
                    await seen(events, key)
        assert done == [Step.PREPARE, Step.TRUST, Step.REISSUE, Step.FORGET]


async def test_a_chain_below_one_root_is_accepted_by_both_sides_and_renews_under_a_stream(
    etcd: RunningEtcd, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    root = Authority.create(now, name="mesh", signs_authorities=True)
    east, west = (enabled(name, root.create_intermediate(name, now)) for name in ("east", "west"))
    assert west.leaves[secret.REMOTE]["ca.crt"] == root.issued.certificate_pem
    port, health_port = free_port(), free_port()
    settings = config(tmp_path, port)
    mount(tmp_path / "client", west.leaves[secret.REMOTE])
    mount(tmp_path / "server", east.leaves[secret.SERVER])
    directly = EtcdConfig(endpoints=(f"http://{etcd.endpoint}",))
    async with (
        proxy_process(etcd, tmp_path, port, health_port),
        connect(settings) as reader,
        connect(directly) as own,
        reader.listwatch(PREFIX) as events,
    ):
        before = await reloads(health_port)
        new = reissue.signed_by(root.create_intermediate("east", now), east.leaves[secret.SERVER], now)
        mount(tmp_path / "server", new)

        async def has_read() -> bool:
            return await reloads(health_port) > before

        await eventually(has_read, EVENT_SECONDS)
        await reads(settings)
        await own.put(PREFIX + b"10.0.0.1", b"{}")
        await seen(events, PREFIX + b"10.0.0.1")
        alone = load_chain(west.leaves[secret.REMOTE]["tls.crt"])[0].public_bytes(Encoding.PEM)
        mount(tmp_path / "client", {**west.leaves[secret.REMOTE], "tls.crt": alone})
        with pytest.raises(KVStoreError):  # nothing leads from the leaf alone to the root
            await reads(settings)
