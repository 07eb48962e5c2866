"""One question to every pod of a kind, through the API server's proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from k8s import objects
from k8s.client import Client
from k8s.core import Pod
from k8s.errors import KubernetesError
from k8s.resource import POD

ASK_SECONDS = 5.0  # who takes longer to say how it is, is not well
ASKED_AT_ONCE = 32  # pods; each costs the API server a proxied connection


@dataclass(frozen=True, slots=True)
class Answer:
    """What one pod said; `error` says why it could not be asked."""

    pod: str
    node: str
    body: bytes = b""
    error: str = ""


async def answers(client: Client, namespace: str, app: str, port: int, path: str) -> Sequence[Answer]:
    """In the order of the pods' names. Raises KubernetesError when the pods cannot be listed."""
    raw = await client.list(POD, namespace, label_selector=f"k8s-app={app}")
    pods = sorted((objects.decode(each, Pod) for each in raw), key=lambda pod: pod.metadata.name)
    turns = asyncio.Semaphore(ASKED_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_ask(client, pod, port, path, turns), name=f"ask {pod.metadata.name}")
            for pod in pods
            if not pod.metadata.deletionTimestamp
        ]
    return [task.result() for task in tasks]


async def _ask(client: Client, pod: Pod, port: int, path: str, turns: asyncio.Semaphore) -> Answer:
    name, node = pod.metadata.name, pod.spec.nodeName
    try:
        async with turns, asyncio.timeout(ASK_SECONDS):
            return Answer(name, node, await client.proxy_get(name, pod.metadata.namespace, port, path))
    except TimeoutError:
        return Answer(name, node, error=f"no answer within {ASK_SECONDS:g} s")
    except KubernetesError as error:
        return Answer(name, node, error=str(error))
