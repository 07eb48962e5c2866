"""Driving a lab as a user does: the command line, the Kubernetes API, curl from inside a pod.

The demo and the end-to-end tests share it. It decides nothing: every call does one thing and waits for it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import msgspec

from aiokit.wait import eventually
from k8s.access import load
from k8s.client import Client, connect
from k8s.resource import CILIUMNETWORKPOLICY, DEPLOYMENT, NETWORKPOLICY, POD, SERVICE, Resource
from lab.demo.objects import NAMESPACE, Object
from lab.paths import LabPaths

COMMAND_SECONDS = 120.0  # no command of ours may take longer
READY_SECONDS = 60.0
CURL_SECONDS = 2  # one request; longer is a failure
_KINDS: dict[str, Resource] = {
    "Deployment": DEPLOYMENT,
    "Service": SERVICE,
    "CiliumNetworkPolicy": CILIUMNETWORKPOLICY,
    "NetworkPolicy": NETWORKPOLICY,
}
# unquoted on purpose: the shell makes one line of the echo's and curl's own
_CURL = 'echo $(curl -s -m {seconds} -w " %{{time_total}}" {url} || echo failed)'
_LOOP = "while " + _CURL + "; do sleep {interval}; done"  # ends when nobody reads any more


class CommandError(Exception):
    """A command ended with another status than 0; the text is what it said on stderr."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One curl. `served_by` is `cluster/pod`, empty when nobody answered in time."""

    served_by: str
    ms: float

    @property
    def cluster(self) -> str:
        return self.served_by.partition("/")[0]


def parse_answer(line: str) -> Answer:
    """A line of the loop: the echo's JSON, then curl's own seconds; anything else is a failure."""
    body, _, seconds = line.strip().rpartition(" ")
    try:
        answer = msgspec.json.decode(body, type=dict[str, str])
        return Answer(f"{answer['cluster']}/{answer['pod']}", float(seconds) * 1000)
    except (msgspec.DecodeError, KeyError, ValueError):
        return Answer("", 0.0)


class Driver:
    """One lab, by name."""

    def __init__(self, lab: str) -> None:
        self.lab = lab
        self.paths = LabPaths(lab)

    async def command(self, *arguments: str, check: bool = True) -> str:
        """Run `clustermesh …`; its standard output. Raises CommandError with its standard error."""
        environment = os.environ | {"KUBECONFIG": str(self.paths.kubeconfig)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS)
        except BaseException:
            await _end(process)
            raise
        if check and process.returncode != 0:
            raise CommandError(f"clustermesh {' '.join(arguments)}: {err.decode(errors='replace').strip()}")
        return out.decode()

    @asynccontextmanager
    async def kubernetes(self, cluster: str) -> AsyncGenerator[Client]:
        access = await asyncio.to_thread(load, self.paths.kubeconfig, cluster)
        async with connect(access) as client:
            yield client

    async def apply(self, cluster: str, *objects: Object) -> None:
        async with self.kubernetes(cluster) as client:
            for each in objects:
                await client.apply(_KINDS[each["kind"]], each)

    async def delete(self, cluster: str, kind: str, name: str) -> None:
        async with self.kubernetes(cluster) as client:
            await client.delete(_KINDS[kind], name, NAMESPACE)

    async def scale(self, cluster: str, deployment: str, replicas: int) -> None:
        async with self.kubernetes(cluster) as client:
            await client.merge_patch(DEPLOYMENT, deployment, {"spec": {"replicas": replicas}}, NAMESPACE)

    async def wait_pods(
        self, cluster: str, app: str, count: int, timeout: float = READY_SECONDS
    ) -> list[str]:
        """The names of the `count` ready pods labelled app=<app>, once there are exactly so many."""
        names: list[str] = []
        async with self.kubernetes(cluster) as client:

            async def are_ready() -> bool:
                pods = [
                    msgspec.json.decode(raw)
                    for raw in await client.list(POD, NAMESPACE, label_selector=f"app={app}")
                ]
                names[:] = [pod["metadata"]["name"] for pod in pods if is_ready(pod)]
                return len(pods) == len(names) == count

            try:
                await eventually(are_ready, timeout, 0.1)
            except TimeoutError as error:
                raise TimeoutError(f"{cluster}: {len(names)} of {count} pods app={app} ready") from error
        return names

    async def cluster_ip(self, cluster: str, service: str) -> str:
        async with self.kubernetes(cluster) as client:
            raw = await client.get(SERVICE, service, NAMESPACE)
            return str(msgspec.json.decode(raw or b"{}")["spec"]["clusterIP"])

    @asynccontextmanager
    async def curling(
        self, cluster: str, pod: str, url: str, *, interval: float = 0.02
    ) -> AsyncGenerator[AsyncGenerator[Answer]]:
        """Curl `url` from inside a pod again and again while the block runs; the answers as they come."""
        loop = _LOOP.format(seconds=CURL_SECONDS, url=url, interval=interval)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli", "lab", "--name", self.lab, "exec", cluster, pod),
            *("--", "sh", "-c", loop),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        answers = _answers(process)
        try:
            yield answers
        finally:
            await answers.aclose()
            await _end(process, group=True)

    async def curl(self, cluster: str, pod: str, url: str) -> Answer:
        """One answer, or a failed one after CURL_SECONDS."""
        async with self.curling(cluster, pod, url) as answers:
            return await anext(answers)


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    deleting = pod["metadata"].get("deletionTimestamp")
    return not deleting and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def _answers(process: asyncio.subprocess.Process) -> AsyncGenerator[Answer]:
    assert process.stdout is not None
    while line := await asyncio.wait_for(process.stdout.readline(), COMMAND_SECONDS):
        yield parse_answer(line.decode(errors="replace"))


async def _end(process: asyncio.subprocess.Process, *, group: bool = False) -> None:
    with suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.terminate()
    await asyncio.wait_for(process.wait(), 30)
