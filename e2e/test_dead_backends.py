"""A pod that dies while nobody can say so: its node answers, its cluster's control plane does not."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokit.wait import eventually
from e2e.conftest import Mesh
from e2e.faults import PROXY, curls_counted, in_namespace, pids_of
from lab.demo.steps import until_answered_by
from lab.node import pod_record
from lab.paths import LabPaths

QUIET = 60  # answers in a row: with one of four backends dead, no luck reaches so far
LOST_SECONDS = 40.0


@asynccontextmanager
async def speechless(mesh: Mesh, cluster: str) -> AsyncIterator[None]:
    """The API server and kubelets stand still, the mesh's proxy is dead; both are back afterwards."""
    (server,) = pids_of("-m lab.server", f"--lab {mesh.plan.name} ", f"--cluster {cluster}")
    (proxy,) = in_namespace(pids_of(*PROXY), mesh.plan.cluster(cluster).control.namespace)
    os.kill(server, signal.SIGSTOP)
    try:
        os.kill(proxy, signal.SIGKILL)
        yield
    finally:
        os.kill(server, signal.SIGCONT)
    await mesh.lab.command("status", "--context", "east", "--wait", "--wait-duration", "90s")


async def test_a_backend_that_died_unheard_is_not_used(mesh: Mesh) -> None:
    await until_answered_by(mesh.lab, mesh.clients["east"], mesh.url, {"east", "west"})
    victim = (await mesh.lab.wait_pods("west", "web", 2))[0]
    record = pod_record.choose(pod_record.all_of(LabPaths(mesh.lab.lab)), "west", victim)
    process = record.container("").process
    assert process is not None
    async with (
        curls_counted(mesh.lab, "east", mesh.clients["east"], mesh.url) as answers,
        speechless(mesh, "west"),
    ):
        os.kill(process.pid, signal.SIGKILL)
        count = len(answers)
        await eventually(lambda: any(not each.served_by for each in answers[count:]), 20)
        await eventually(lambda: all(each.served_by for each in answers[-QUIET:]), LOST_SECONDS)
        quiet = {answer.served_by for answer in answers[-QUIET:]}
        assert {name.partition("/")[0] for name in quiet} == {"east", "west"}  # and not all of west
        assert f"west/{victim}" not in quiet
