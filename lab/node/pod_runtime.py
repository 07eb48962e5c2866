"""The API's `exec` and `log` requests, answered by whichever kubelet runs the pod."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from lab.api.runtime import ContainerRef, ExecResult, PodNotRunningError
from lab.errors import LabError
from lab.node.kubelet import Kubelet
from lab.node.pod_worker import PodWorker

REAP_SECONDS = 5.0


class ClusterRuntime:
    """Satisfies `PodRuntime`. Kubelets are added once they exist: they need the API that needs this."""

    def __init__(self) -> None:
        self.kubelets: list[Kubelet] = []

    async def exec(self, target: ContainerRef, argv: Sequence[str], stdin: bytes) -> ExecResult:
        try:
            command, env = self._worker(target).exec_argv(target.container, argv)
        except LabError as error:
            raise PodNotRunningError(str(error)) from error
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
        try:
            stdout, stderr = await process.communicate(stdin)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            async with asyncio.timeout(REAP_SECONDS):
                code = await process.wait()
        return ExecResult(stdout, stderr, code if code >= 0 else 128 - code)

    async def read_log(self, target: ContainerRef, tail: int | None) -> bytes:
        try:
            return self._worker(target).read_log(target.container, tail)
        except LabError as error:
            raise PodNotRunningError(str(error)) from error

    def _worker(self, target: ContainerRef) -> PodWorker:
        for kubelet in self.kubelets:
            worker = kubelet.find(target.namespace, target.pod)
            if worker is not None:
                return worker
        raise LabError(f"pod {target.pod} is not running")
