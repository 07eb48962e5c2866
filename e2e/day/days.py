"""Three clusters of which an operator has the kubeconfig and the command line, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from aiokit.wait import eventually
from e2e.faults import curls_counted
from k8s import resource
from k8s.errors import NotFoundError
from k8s.resource import SECRET, Resource
from lab import record
from lab.demo.driver import Answer, Driver

NAMESPACE = "kube-system"
CLUSTERS = ("east", "west", "north")  # east and west have one authority, north has its own
IN_A_ROW = 20  # answers: one of three clusters is not among them by chance once in three thousand times
REACHED_SECONDS = 30.0
LOST_IN_A_MOMENT = 2
_COMES_AND_GOES = {"Pod", "Event", "Lease", "Endpoints", "EndpointSlice"}


@dataclass(frozen=True)
class Day:
    """`clients`: cluster -> the pod that curls; `urls`: cluster -> the global service `web` in it.

    `before`: cluster -> its objects before anything of ours was there.
    """

    lab: Driver
    clients: dict[str, str]
    urls: dict[str, str]
    before: dict[str, frozenset[str]] = field(repr=False)

    async def run(self, *arguments: str) -> str:
        return await self.lab.command(*arguments)

    async def each(self, command: str, *more: str, clusters: Iterable[str] = CLUSTERS) -> None:
        """A command in several clusters at once."""
        async with asyncio.TaskGroup() as group:
            for name in clusters:
                work = self.run(command, "--context", name, *more)
                group.create_task(work, name=f"{command} {name}")

    async def ready(self, clusters: Iterable[str] = CLUSTERS) -> None:
        await self.each("status", "--wait", "--wait-duration", "60s", clusters=clusters)

    async def connected(self) -> None:
        """All know all."""
        await self.run(
            *("connect", "--context", "east", "--destination-context", "west,north"),
            *("--connection-mode", "mesh", "--allow-mismatching-ca", "--parallel", "3"),
        )
        await self.ready()

    async def apart(self) -> None:
        """Nobody knows anybody."""
        await self.run(
            *("disconnect", "--context", "east", "--destination-context", "west,north"),
            *("--connection-mode", "mesh"),
        )

    def curling(self, cluster: str) -> AbstractAsyncContextManager[list[Answer]]:
        return curls_counted(self.lab, cluster, self.clients[cluster], self.urls[cluster])

    async def answered(self, cluster: str, *by: str) -> None:
        """Curl until the last answers are by exactly these clusters."""
        last: deque[str] = deque(maxlen=IN_A_ROW)
        async with (
            asyncio.timeout(REACHED_SECONDS),
            self.lab.curling(cluster, self.clients[cluster], self.urls[cluster], interval=0) as answers,
        ):
            async for each in answers:
                last.append(each.cluster)
                if len(last) == IN_A_ROW and set(last) == set(by):
                    return

    async def objects(self, cluster: str) -> frozenset[str]:
        """`Kind name` of everything that stays when nobody acts."""
        kinds = {each.path(): each for each in vars(resource).values() if isinstance(each, Resource)}
        found: set[str] = set()
        async with self.lab.kubernetes(cluster) as client:
            for kind in kinds.values():
                if kind.kind in _COMES_AND_GOES:
                    continue
                try:
                    raw = await client.list(kind)
                except NotFoundError:  # its definition is not installed
                    continue
                found |= {f"{kind.kind} {msgspec.json.decode(each)['metadata']['name']}" for each in raw}
        return frozenset(found)

    async def secrets(self, cluster: str) -> dict[str, dict[str, bytes]]:
        """Those of the mesh's namespace, decoded."""
        async with self.lab.kubernetes(cluster) as client:
            found = [msgspec.json.decode(raw) for raw in await client.list(SECRET, NAMESPACE)]
        return {
            each["metadata"]["name"]: {
                key: base64.b64decode(text) for key, text in (each.get("data") or {}).items()
            }
            for each in found
        }

    async def processes(self) -> dict[str, tuple[int, int]]:
        """Every container of every cluster: its process id, and how often it was restarted."""
        said = json.loads(await self.run("lab", "--name", self.lab.lab, "ps", "-o", "json"))
        return {
            f"{each['cluster']}/{each['pod']}/{each['container']}": (each["pid"], each["restarts"])
            for each in said
        }

    @asynccontextmanager
    async def api_server_dead(self, cluster: str) -> AsyncGenerator[None]:
        """It takes connections and answers nobody: what a client waits longest for."""
        server = record.read_server(self.lab.paths, cluster)
        assert server is not None
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server.process.pid, signal.SIGCONT)


async def reached(answers: Sequence[Answer], *by: str, seconds: float = REACHED_SECONDS) -> None:
    """Wait until the last answers are by exactly these clusters."""

    def are_by() -> bool:
        last = answers[-IN_A_ROW:]
        return len(last) == IN_A_ROW and {each.cluster for each in last} == set(by)

    try:
        await eventually(are_by, seconds)
    except TimeoutError:
        last = sorted({each.cluster or "nobody" for each in answers[-IN_A_ROW:]})
        raise AssertionError(f"answered by {last}, not {sorted(by)}, after {seconds:g} s") from None


def failed(answers: Sequence[Answer]) -> list[Answer]:
    return [each for each in answers if not each.served_by]


@asynccontextmanager
async def a_moment(answers: list[Answer]) -> AsyncGenerator[None]:
    """Two clusters do not learn of each other, or forget each other, in the same instant.

    What is on its way between them just then may be lost, and nothing else. The curls come one after
    another, and a lost one takes all its time: more than a few were no moment.
    """
    assert failed(answers) == []
    yield
    assert len(failed(answers)) <= LOST_IN_A_MOMENT
    answers[:] = [each for each in answers if each.served_by]
