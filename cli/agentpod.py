"""Agents by their pods: asking one by running `clustermesh-dbg` beside it, as whoever may `exec` there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cli.agentmanifest import RUN_DIR
from cli.errors import CommandError
from cli.settings import AGENT
from k8s import objects
from k8s.client import Client
from k8s.core import Pod
from k8s.resource import POD

CONTAINER = "agent"
ASKED_AT_ONCE = 8  # each costs the API server a connection


@dataclass(frozen=True, slots=True)
class AgentPod:
    client: Client
    pod: Pod
    container: str = CONTAINER

    @property
    def node(self) -> str:
        return self.pod.spec.nodeName

    async def ask(self, *words: str) -> dict[str, Any]:
        """The answer of `clustermesh-dbg <words> -o json`, whatever its exit status. Raises CommandError with
        what it said instead of one, and KubernetesError."""
        argv = ["clustermesh-dbg", "--host", f"{RUN_DIR}/cilium.sock", *words, "-o", "json"]
        name, namespace = self.pod.metadata.name, self.pod.metadata.namespace
        found = await self.client.execute(name, namespace, argv, self.container)
        if not found.stdout:
            text = found.stderr.decode("utf-8", "replace").strip().removeprefix("error: ")
            raise CommandError(f"node {self.node}: {text or f'exit status {found.code}'}")
        try:
            return msgspec.json.decode(found.stdout, type=dict[str, Any])
        except ValueError as error:
            raise CommandError(f"node {self.node}: its answer is not understood: {error}") from error


async def agents(client: Client, namespace: str) -> Sequence[AgentPod]:
    """In the order of their nodes' names; those that are ending are left out."""
    return [
        AgentPod(client, pod) for pod in await pods(client, namespace, AGENT) if not pod.metadata.is_ending
    ]


async def pods(client: Client, namespace: str, app: str) -> Sequence[Pod]:
    """All of a program, in the order of their nodes' names."""
    found = [
        objects.decode(raw, Pod) for raw in await client.list(POD, namespace, label_selector=f"k8s-app={app}")
    ]
    return sorted(found, key=lambda pod: pod.spec.nodeName)
