"""A Kubernetes API that does what a test says, as the streams that exporters follow."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from k8s.objects import KubeObject
from k8s.resource import Resource
from k8s.watch import ObjectDelta
from tests.clustermesh_apiserver.objects import Body, read

T = TypeVar("T", bound=KubeObject)


class ScriptedKubernetes:
    """`follow` fits `follow.Follow`. A kind that is withheld cannot be listed until it is released."""

    def __init__(self, *withheld: Resource) -> None:
        self._objects: dict[Resource, dict[str, Body]] = defaultdict(dict)
        self._streams: dict[Resource, list[asyncio.Queue[ObjectDelta[Any]]]] = defaultdict(list)
        self._types: dict[Resource, type[Any]] = {}
        self._released = {resource: asyncio.Event() for resource in withheld}

    def release(self, resource: Resource) -> None:
        self._released[resource].set()

    def put(self, resource: Resource, body: Body) -> None:
        key = _key(body)
        self._objects[resource][key] = body
        for stream in self._streams[resource]:
            stream.put_nowait(ObjectDelta({key: read(body, self._types[resource])}))

    def delete(self, resource: Resource, key: str) -> None:
        del self._objects[resource][key]
        for stream in self._streams[resource]:
            stream.put_nowait(ObjectDelta(removes={key}))

    async def follow(self, resource: Resource, type_: type[T], /) -> AsyncIterator[ObjectDelta[T]]:
        if resource in self._released:
            await self._released[resource].wait()
        self._types[resource] = type_
        stream: asyncio.Queue[ObjectDelta[T]] = asyncio.Queue()
        self._streams[resource].append(stream)
        listed = {key: read(body, type_) for key, body in self._objects[resource].items()}
        yield ObjectDelta(listed, synced=True)
        while True:
            yield await stream.get()


def _key(body: Body) -> str:
    metadata = body["metadata"]
    namespace = metadata.get("namespace", "")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])
