"""The proxy as its users meet it: etcdctl, unmodified, over mutual TLS to a real etcd."""

from __future__ import annotations

import json

import grpc
import grpc.aio
import pytest

from certs import profile
from clustermesh_apiserver.proxy.method import TXN
from kvstore import messages
from tests.clustermesh_apiserver.proxy.conftest import Mesh

REMOTE = profile.remote()
IP = "cilium/state/ip/v1/default/10.1.0.4"


async def stored(mesh: Mesh, *keys: str) -> None:
    for key in keys:
        assert (await mesh.directly("put", key, f"value of {key}")).status == 0


async def test_a_remote_client_reads_the_same_bytes_as_from_etcd_itself(mesh: Mesh) -> None:
    await stored(mesh, *(f"cilium/state/ip/v1/default/10.1.0.{number}" for number in range(20)))
    question = ("get", "--prefix", "cilium/state/", "-w", "json")
    through, direct = await mesh.as_client(REMOTE, *question), await mesh.directly(*question)
    assert through.status == 0, through.err
    assert through.out == direct.out
    assert json.loads(through.out)["count"] == 20


async def test_a_remote_client_reads_every_key_of_its_contract(mesh: Mesh) -> None:
    synced = "cilium/synced/east/cilium/state/nodes/v1"
    for key in ("cilium/.heartbeat", "cilium/cluster-config/east", synced, IP):
        await stored(mesh, key)
        result = await mesh.as_client(REMOTE, "get", "--print-value-only", key)
        assert result.out.decode().strip() == f"value of {key}"


FORBIDDEN = [
    ("get", "cilium/cache/ip/v1/west/10.2.0.1"),
    ("get", "cilium/cluster-config/west"),
    ("get", "--prefix", "cilium/cluster-config/"),
    ("get", "--prefix", "cilium/synced/"),
    ("get", "--prefix", ""),
    ("get", "--from-key", "cilium/state/"),
    ("put", IP, "stolen"),
    ("del", IP),
    ("del", "--prefix", "cilium/state/"),
    ("lease", "grant", "60"),
    ("lease", "list"),
    ("compaction", "1"),
    ("defrag",),
    ("auth", "enable"),
    ("user", "list"),
    ("member", "remove", "8e9e05c52164694d"),
    ("move-leader", "8e9e05c52164694d"),
    ("snapshot", "save", "/proc/nowhere"),
]


async def test_a_remote_client_reads_nothing_else_and_changes_nothing(mesh: Mesh) -> None:
    await stored(mesh, IP)
    before = await mesh.directly("get", "--prefix", "", "-w", "json")
    accepted = [asked for asked in FORBIDDEN if (await mesh.as_client(REMOTE, *asked)).status == 0]
    assert accepted == []
    assert (await mesh.directly("get", "--prefix", "", "-w", "json")).out == before.out


async def test_a_refusal_has_the_words_that_etcds_client_knows(mesh: Mesh) -> None:
    result = await mesh.as_client(REMOTE, "put", IP, "stolen")
    assert "etcdserver: permission denied" in result.err


async def test_a_transaction_of_a_remote_client_is_refused_even_if_it_only_reads(mesh: Mesh) -> None:
    read = messages.RequestOp(request_range=messages.RangeRequest(key=IP.encode()))
    async with mesh.channel(REMOTE) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="permission denied") as refused:
            await channel.unary_unary(TXN.path)(
                messages.TxnRequest(success=[read]).SerializeToString(), timeout=5
            )
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_remote_client_may_ask_how_etcd_is(mesh: Mesh) -> None:
    for asked in (("endpoint", "health"), ("endpoint", "status"), ("alarm", "list")):
        result = await mesh.as_client(REMOTE, *asked)
        assert result.status == 0, result.err


async def test_etcds_state_is_the_same_as_from_etcd_itself(mesh: Mesh) -> None:
    await stored(mesh, IP)
    question = ("endpoint", "status", "-w", "json")
    through, direct = await mesh.as_client(REMOTE, *question), await mesh.directly(*question)
    assert json.loads(through.out)[0]["Status"] == json.loads(direct.out)[0]["Status"]


async def test_the_member_list_leads_to_the_proxy_and_not_around_it(mesh: Mesh) -> None:
    result = await mesh.as_client(REMOTE, "member", "list", "-w", "json")
    (member,) = json.loads(result.out)["members"]
    assert member["clientURLs"] == [f"https://east.mesh.cilium.io:{mesh.proxy.port}"]
    assert "peerURLs" not in member


async def test_the_clusters_own_control_plane_writes_through_the_proxy(mesh: Mesh) -> None:
    admin = profile.admin("east")
    assert (await mesh.as_client(admin, "put", IP, "written")).status == 0
    assert (await mesh.as_client(admin, "lease", "grant", "60")).status == 0
    assert (await mesh.directly("get", "--print-value-only", IP)).out == b"written\n"


async def test_a_trusted_certificate_for_something_else_opens_nothing(mesh: Mesh) -> None:
    await stored(mesh, "cilium/.heartbeat")
    for name in ("admin-west", "local-west", "root", "remote-", "remote-West", "clustermesh-apiserver"):
        result = await mesh.as_client(profile.Profile(name, client=True), "get", "cilium/.heartbeat")
        assert "permission denied" in result.err, name


async def test_local_agents_read_the_cache_of_other_clusters_but_write_nothing(mesh: Mesh) -> None:
    await stored(mesh, "cilium/cache/ip/v1/west/10.2.0.1")
    local = profile.local("east")
    assert b"10.2.0.1" in (await mesh.as_client(local, "get", "--prefix", "cilium/cache/")).out
    assert "permission denied" in (await mesh.as_client(local, "put", "cilium/cache/x", "1")).err


async def test_etcds_own_errors_arrive_word_for_word(mesh: Mesh) -> None:
    await stored(mesh, IP, IP)
    await mesh.directly("compaction", "2")
    question = ("get", "--rev=1", IP)
    through, direct = await mesh.as_client(REMOTE, *question), await mesh.directly(*question)
    assert "required revision has been compacted" in direct.err
    assert error_text(through.err) == error_text(direct.err)


def error_text(stderr: str) -> str:
    """etcdctl's last line, without its log lines."""
    return stderr.strip().splitlines()[-1]
