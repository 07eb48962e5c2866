"""Killing parts while curl runs: the data path does not need the control plane."""

from __future__ import annotations

import asyncio
import os
import signal

from aiokit.wait import eventually
from e2e.conftest import Mesh
from e2e.faults import AGENT, ETCD, curls_counted, in_namespace, kill, pids_of
from lab.demo.steps import until_answered_by


async def test_an_agent_killed_and_restarted_fails_no_curl_and_serves_new_pods(mesh: Mesh) -> None:
    node = mesh.plan.cluster("east").nodes[1]
    agents = [
        pid
        for each in mesh.plan.cluster("east").nodes[1:]
        for pid in in_namespace(pids_of(*AGENT), each.namespace)
    ]
    assert len(agents) == 2
    async with curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url) as answers:
        for pid in agents:
            os.kill(pid, signal.SIGKILL)

        def restarted() -> bool:
            return any(pid not in agents for pid in in_namespace(pids_of(*AGENT), node.namespace))

        await eventually(restarted, 60)
        await mesh.lab.command("status", "--context", "east", "--wait", "--wait-duration", "60s")
    assert [answer for answer in answers if not answer.served_by] == []
    assert {answer.cluster for answer in answers} == {"east", "west"}
    await mesh.lab.scale("east", "web", 3)
    await mesh.lab.wait_pods("east", "web", 3)


async def test_traffic_goes_on_while_the_peers_etcd_is_stopped(mesh: Mesh) -> None:
    control = mesh.plan.cluster("west").control.namespace
    (etcd,) = in_namespace(pids_of(*ETCD), control)
    async with curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url) as answers:
        os.kill(etcd, signal.SIGSTOP)
        try:
            count = len(answers)
            await eventually(lambda: len(answers) > count + 50, 30)
        finally:
            os.kill(etcd, signal.SIGCONT)
    assert [answer for answer in answers if not answer.served_by] == []
    assert {answer.cluster for answer in answers} == {"east", "west"}


async def test_a_peers_etcd_that_comes_back_empty_removes_nothing_and_is_followed_again(mesh: Mesh) -> None:
    async with curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url) as answers:
        await kill(mesh.plan.cluster("west").control, *ETCD)
        await mesh.lab.command("status", "--context", "east", "--wait", "--wait-duration", "90s")
        await mesh.lab.scale("west", "web", 3)
        new = (await mesh.lab.wait_pods("west", "web", 3))[-1]
        async with asyncio.timeout(60):
            while f"west/{new}" not in {answer.served_by for answer in answers}:
                await asyncio.sleep(0.1)
    assert [answer for answer in answers if not answer.served_by] == []


async def test_garbage_from_a_peer_is_refused_and_counted_and_harms_nothing(mesh: Mesh) -> None:
    control = mesh.plan.cluster("west").control.namespace
    prefix = "cilium/state/ip/v1/default/"
    put = ("nsenter", f"--net=/run/netns/{control}", "etcdctl", "--endpoints=127.0.0.1:2378")
    environment = os.environ | {"ETCDCTL_API": "3"}
    async with curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url) as answers:
        for key, value in (
            ("10.2.1.250", "{"),
            ("not-an-ip", '{"IP":"not-an-ip"}'),
            ("10.9.9.9", '{"IP":"10.9.9.9","ID":77777}'),
        ):
            process = await asyncio.create_subprocess_exec(
                *put, "put", prefix + key, value, env=environment, stdout=asyncio.subprocess.DEVNULL
            )
            assert await asyncio.wait_for(process.wait(), 10) == 0

        async def are_counted() -> bool:
            return "refus" in (await mesh.lab.command("status", "--context", "east", check=False))

        await eventually(are_counted, 20, 0.5)
    for key in ("10.2.1.250", "not-an-ip", "10.9.9.9"):
        process = await asyncio.create_subprocess_exec(
            *put, "del", prefix + key, env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert [answer for answer in answers if not answer.served_by] == []
    found = await until_answered_by(mesh.lab, mesh.clients["east"], mesh.url, {"east", "west"})
    assert found
