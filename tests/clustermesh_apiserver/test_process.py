"""The program itself: started, killed at the worst moments, ended politely."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec

from aiokit.wait import eventually
from k8s.client import Client
from k8s.resource import CILIUMENDPOINT, POD
from kvstore.digest import Digest
from mesh.keys import Kind, state_prefix
from tests.clustermesh_apiserver import objects as o
from tests.clustermesh_apiserver.etcd import stored, wait_stored
from tests.clustermesh_apiserver.expected import EVERYTHING, IP
from tests.clustermesh_apiserver.kubernetes import Kubernetes
from tests.conftest import RunningEtcd, free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 20.0  # an interpreter on a busy machine
IPS = state_prefix(Kind.IPS, "east")
ADDRESSES = [f"10.3.7.{number}" for number in range(1, 60)]


@asynccontextmanager
async def program(
    kubernetes: Kubernetes, etcd: RunningEtcd, *flags: str, port: int = 0
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The exporter as a process, ready; killed afterwards if the test has not ended it."""
    port = port or free_port()
    with (kubernetes.directory / "exporter.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "clustermesh_apiserver", "clustermesh"),
            *("--cluster-name", "east", "--cluster-id", "3", "--health-port", str(port)),
            *("--etcd-endpoint", f"http://{etcd.endpoint}", "--kvstore-lease-ttl", "60s"),
            *("--kubeconfig", str(kubernetes.write_kubeconfig())),
            *flags,
            cwd=ROOT,
            stderr=log,
        )
    try:
        await eventually(lambda: answers(port, "/readyz", 200), START_SECONDS)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def answers(port: int, path: str, status: int) -> bool:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{path}") as answer,
        ):
            return answer.status == status
    except aiohttp.ClientError:
        return False


async def test_a_polite_end_deletes_nothing_and_is_a_success(
    kubernetes: Kubernetes, mesh_etcd: RunningEtcd
) -> None:
    async with program(kubernetes, mesh_etcd) as process:
        await wait_stored(mesh_etcd, EVERYTHING)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert (await stored(mesh_etcd)).keys() == EVERYTHING


async def test_asked_twice_it_ends_at_once(
    kubernetes: Kubernetes, client: Client, mesh_etcd: RunningEtcd
) -> None:
    port = free_port()
    async with program(kubernetes, mesh_etcd, "--prometheus-serve-addr", f":{port}") as process:
        await wait_stored(mesh_etcd, EVERYTHING)
        os.kill(mesh_etcd.pid, signal.SIGSTOP)
        try:
            await client.apply(CILIUMENDPOINT, o.endpoint_body("late", "10.3.1.99"))
            await eventually(lambda: has_queued(port))
            process.send_signal(signal.SIGTERM)
            await eventually(lambda: "msg=ending" in (kubernetes.directory / "exporter.log").read_text())
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == -signal.SIGTERM
        finally:
            os.kill(mesh_etcd.pid, signal.SIGCONT)
    assert (await stored(mesh_etcd)).keys() >= EVERYTHING


async def has_queued(port: int) -> bool:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        line = 'kvstore_sync_queue_size{scope="ip/v1",source_cluster="east"} 1.0'
        return line in await answer.text()


async def test_metrics_have_a_port_of_their_own_where_it_is_asked_for(
    kubernetes: Kubernetes, mesh_etcd: RunningEtcd
) -> None:
    port = free_port()
    async with program(kubernetes, mesh_etcd, "--prometheus-serve-addr", f"127.0.0.1:{port}"):
        assert await answers(port, "/metrics", 200)
        assert await answers(port, "/readyz", 404)


async def test_an_operator_sees_what_is_stored_and_its_digest(
    kubernetes: Kubernetes, mesh_etcd: RunningEtcd
) -> None:
    port = free_port()
    async with program(kubernetes, mesh_etcd, port=port):
        pairs = await wait_stored(mesh_etcd, EVERYTHING)
        digest = Digest()
        for key, pair in pairs.items():
            if key.startswith(IPS):
                digest.toggle(key.removeprefix(IPS), pair.value)
        asked = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "clustermesh_apiserver", "clustermesh-dbg", "status"),
            *("--address", f"127.0.0.1:{port}"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        text = (await asyncio.wait_for(asked.communicate(), START_SECONDS))[0].decode()
    assert text.startswith("Cluster east: ready\n")
    (line,) = [line for line in text.splitlines() if line.startswith("ip/v1")]
    assert line.split() == ["ip/v1", "true", "1", "0", "0", str(digest)]


async def test_kills_in_the_middle_of_changes_neither_lose_nor_leave_keys(
    kubernetes: Kubernetes, client: Client, mesh_etcd: RunningEtcd
) -> None:
    for round_ in range(2):
        async with program(kubernetes, mesh_etcd) as process, asyncio.TaskGroup() as group:
            group.create_task(churn(client, round_), name="churn")
            await eventually(lambda: some_churned(mesh_etcd))
            process.kill()
            await process.wait()
    async with program(kubernetes, mesh_etcd):
        living = {f"cilium/state/ip/v1/default/{ip}".encode() for ip in ADDRESSES[1::2]}
        pairs = await wait_stored(mesh_etcd, EVERYTHING | living)
        assert all(pair.lease for pair in pairs.values())


async def test_what_vanished_while_it_was_dead_is_removed_and_announced_anew(
    kubernetes: Kubernetes, client: Client, mesh_etcd: RunningEtcd
) -> None:
    canary, added = b"cilium/synced/east/cilium/state/ip/v1", b"cilium/state/ip/v1/default/10.3.1.45"
    async with program(kubernetes, mesh_etcd) as process:
        before = await wait_stored(mesh_etcd, EVERYTHING)
        process.kill()
        await process.wait()
    await client.delete(CILIUMENDPOINT, "web-0", "shop")
    await client.create(CILIUMENDPOINT, o.endpoint_body("web-1", "10.3.1.45"))
    assert (await stored(mesh_etcd)).keys() == EVERYTHING
    async with program(kubernetes, mesh_etcd):
        after = await wait_stored(mesh_etcd, EVERYTHING - {IP} | {added})
    assert before[canary].mod_revision < after[added].mod_revision < after[canary].mod_revision


async def churn(client: Client, round_: int) -> None:
    """Create all endpoints, then delete every other one: some before, some after the kill."""
    for number, address in enumerate(ADDRESSES):
        await client.apply(CILIUMENDPOINT, o.endpoint_body(f"pod-{number}", address))
        if number % 2 == 0:
            await client.delete(CILIUMENDPOINT, f"pod-{number}", "shop")


async def some_churned(etcd: RunningEtcd) -> bool:
    keys = await stored(etcd)
    return sum(key.startswith(b"cilium/state/ip/v1/default/10.3.7.") for key in keys) > 5


async def test_it_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clustermesh_apiserver", "clustermesh"),
        *("--cluster-name", "east", "--cluster-id", "3", "--etcd-endpoint", "http://127.0.0.1:1"),
        *("--kubeconfig", str(tmp_path / "absent")),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, talk = await asyncio.wait_for(process.communicate(), START_SECONDS)
    assert process.returncode == 1
    assert b"absent" in talk
    assert b"Traceback" not in talk


async def test_without_ciliums_kinds_pods_are_exported_with_identities_of_our_own(
    kubernetes: Kubernetes, client: Client, mesh_etcd: RunningEtcd
) -> None:
    """A restart finds the same number again; what does not make an identity is left out."""
    ip, number = state_prefix(Kind.IPS, "east") + b"10.3.1.44", b""
    await client.create(POD, pod_body("web-0", {"app": "web", "build": "7"}))
    status = {"phase": "Running", "podIPs": [{"ip": "10.3.1.44"}], "hostIP": "192.0.2.11"}
    await client.merge_patch(POD, "web-0", {"status": status}, "shop", "status")
    for life in range(2):
        flags = ("--identity-allocation-mode", "kvstore", "--labels", "!build")
        async with program(kubernetes, mesh_etcd, *flags):
            pairs = await stored(mesh_etcd)
            entry = msgspec.json.decode(pairs[ip].value)
            master = pairs[state_prefix(Kind.IDENTITIES, "east") + str(entry["ID"]).encode()]
            assert b"k8s:app=web;" in master.value and b"build" not in master.value
            assert o.EAST.owns(entry["ID"])
            assert master.lease == 0
            if life:
                assert str(entry["ID"]).encode() == number
            number = str(entry["ID"]).encode()
    assert number


def pod_body(name: str, labels: dict[str, str]) -> o.Body:
    return {
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {"serviceAccountName": "web", "containers": [{"name": "c", "image": "i"}]},
    }
