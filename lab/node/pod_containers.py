"""The containers of one pod: started, watched, probed, started again, and stopped.

Knows nothing of the API. What it learns is in `states`; `changed` is set whenever they differ.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiokit.backoff import Backoff
from lab.errors import LabError
from lab.manifest import Container, Pod
from lab.node import readiness
from lab.node.pod_status import ContainerState
from lab.node.readiness import Streak
from lab.node.runtime import Launch, Running, start

RESTART_FIRST_SECONDS = 1.0
RESTART_CAP_SECONDS = 30.0
LAST_LINES, LAST_BYTES = 80, 2048  # as a kubelet has it
SETTLED_SECONDS = (
    2.0  # a container that ran so long is not in a crash loop: our programs fail at once or not at all
)


@dataclass(slots=True)
class PodContainers:
    pod: Pod
    launch: Callable[[Container], Launch]  # may raise PodConfigError
    node_namespace: str
    now: Callable[[], str]
    pod_ip: str = ""
    states: dict[str, ContainerState] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Init containers in order, then all the others. Cancelled, it leaves processes for `stop`."""
        for each in self.pod.spec.initContainers:
            await self._supervise(each, restart_policy="OnFailure")
        async with asyncio.TaskGroup() as group:
            for each in self.pod.spec.containers:
                policy = self.pod.spec.restartPolicy
                group.create_task(self._supervise(each, policy), name=f"{self.pod.metadata.key}/{each.name}")

    async def stop(self, grace_seconds: float) -> None:
        async with asyncio.TaskGroup() as group:
            for name, running in self.running.items():
                group.create_task(running.stop(grace_seconds), name=f"stop {self.pod.metadata.key}/{name}")

    async def _supervise(self, spec: Container, restart_policy: str) -> None:
        backoff = Backoff(RESTART_FIRST_SECONDS, RESTART_CAP_SECONDS, jitter=0)
        while True:
            begun = time.monotonic()
            try:
                code, words = await self._run_once(spec)
            except (LabError, OSError) as error:
                self._set(spec, pid=0, waiting="CreateContainerError", message=str(error))
            else:
                self._set(spec, pid=0, is_ready=False, last_exit=code, last_words=words)
                if restart_policy == "Never" or (restart_policy == "OnFailure" and code == 0):
                    self._set(spec, is_done=True, is_ready=code == 0)
                    return
                state = self.states[spec.name]
                message = f"container {spec.name} ended with status {code}"
                self._set(spec, restarts=state.restarts + 1, waiting="CrashLoopBackOff", message=message)
            if time.monotonic() - begun >= SETTLED_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _run_once(self, spec: Container) -> tuple[int, str]:
        """Its exit status and its last words."""
        launch = self.launch(spec)
        running = await start(launch)
        self.running[spec.name] = running
        self._set(spec, pid=running.identity.pid, since=self.now(), message="", is_ready=False)
        async with asyncio.TaskGroup() as group:
            name = f"probe {self.pod.metadata.key}/{spec.name}"
            probing = group.create_task(self._probe(spec), name=name)
            code = await running.wait()
            probing.cancel()
        running.kill()  # what it started in its session goes with it
        return code, last_words(launch.log, code, spec.terminationMessagePolicy)

    async def _probe(self, spec: Container) -> None:
        probe = spec.readinessProbe
        if probe is None:
            self._set(spec, is_ready=True)
            return
        await asyncio.sleep(probe.initialDelaySeconds)
        streak = Streak()
        while True:
            success = await readiness.ask(probe, spec, self.pod_ip, self.node_namespace)
            streak = streak.after(success, probe)
            self._set(spec, is_ready=streak.is_ready)
            await asyncio.sleep(streak.pause_seconds(probe))

    def _set(self, spec: Container, **facts: Any) -> None:
        old = self.states.get(spec.name, ContainerState())
        new = replace(old, **facts)
        if new != old:
            self.states[spec.name] = new
            self.changed.set()


def last_words(log: Path, code: int, policy: str) -> str:
    """What `FallbackToLogsOnError` puts into a pod's status: the end of the log, after an error."""
    if code == 0 or policy != "FallbackToLogsOnError":
        return ""
    return log_tail(log, LAST_LINES)[-LAST_BYTES:].decode(errors="replace")


def log_tail(path: Path, lines: int | None) -> bytes:
    """What a container wrote; the last `lines` when given. b"" when it never wrote."""
    text = path.read_bytes() if path.exists() else b""
    return text if lines is None else b"".join(text.splitlines(keepends=True)[-lines:] if lines else [])
