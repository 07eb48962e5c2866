"""What the lab's Kubernetes API asks of whoever runs the pods (the lab's kubelet).

The API server stores objects and runs nothing: `exec` and `log` requests are handed to a `PodRuntime`.
It promises to call with a pod that exists in the registry; the runtime answers for one that does not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class PodNotRunningError(Exception):
    """The pod or the container has no running process: the caller sees a 409 with this text."""


@dataclass(frozen=True, slots=True)
class ContainerRef:
    """One container of one pod; an empty `container` means the pod's first one."""

    namespace: str
    pod: str
    container: str = ""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a finished command left behind."""

    stdout: bytes
    stderr: bytes
    exit_code: int


class PodRuntime(Protocol):
    async def exec(self, target: ContainerRef, argv: Sequence[str], stdin: bytes) -> ExecResult:
        """Run `argv` inside the container and wait for its end; cancelled when the caller goes away.

        Raises PodNotRunningError when there is nothing to run it in.
        """

    async def read_log(self, target: ContainerRef, tail: int | None) -> bytes:
        """What the container wrote so far; the last `tail` lines when given.

        Raises PodNotRunningError when the container never started.
        """
