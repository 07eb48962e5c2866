"""Kubernetes -> our etcd, one kind at a time.

Promises: nothing is published before every source of a kind has been listed in full, so that a source
that we do not know yet is never taken for an empty one; after that every change is handed on at once.
What is wanted outlives the store: when etcd is replaced, `attach` hands all of it to the new store.
Does not write: `kvstore.syncstore` does, and it alone decides when a canary is due.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from clustermesh_apiserver.object_export import Exported
from k8s.objects import KubeObject
from k8s.watch import ObjectDelta
from mesh.keys import Kind

T = TypeVar("T", bound=KubeObject)

log = logging.getLogger(__name__)


class Store(Protocol):
    """What an exporter asks of a `kvstore.syncstore.SyncStore`."""

    def upsert(self, suffix: bytes, value: bytes) -> None: ...
    def remove(self, suffix: bytes) -> None: ...
    def mark_listed(self) -> None: ...


class Export(Protocol):
    """What an exporter asks of a reducer, apart from the methods that its sources feed."""

    def pairs(self) -> dict[bytes, bytes]: ...
    def refused(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """A stream of Kubernetes objects and the reducer's method that takes them."""

    name: str
    follow: Callable[[], AsyncIterator[ObjectDelta[T]]]
    apply: Callable[[ObjectDelta[T]], Exported]


@dataclass(frozen=True, slots=True)
class ExporterStatus:
    """`listed`: every source has been listed once; `refused`: objects that cannot be exported."""

    kind: Kind
    listed: bool
    refused: int


class Exporter:
    """One kind's sources and reducer, and the store that currently takes its pairs. `prunes` False: others
    write keys of this kind, too."""

    def __init__(
        self, kind: Kind, export: Export, sources: Sequence[Source[Any]], *, prunes: bool = True
    ) -> None:
        self.kind = kind
        self.prunes = prunes
        self._export = export
        self._sources = sources
        self._unlisted = {source.name for source in sources}
        self._store: Store | None = None

    @property
    def sources(self) -> list[str]:
        return [source.name for source in self._sources]

    def status(self) -> ExporterStatus:
        return ExporterStatus(self.kind, not self._unlisted, self._export.refused())

    async def run(self) -> None:
        """Follow the sources until cancelled; a bug in one ends all."""
        async with asyncio.TaskGroup() as group:
            for source in self._sources:
                group.create_task(self._follow(source), name=f"export/{self.kind.name}/{source.name}")

    def attach(self, store: Store) -> None:
        """From now on `store` takes the pairs, beginning with all that are wanted."""
        self._store = store
        self._hand_over_if_listed()

    async def _follow(self, source: Source[Any]) -> None:
        async for delta in source.follow():
            exported = source.apply(delta)
            for name, reason in exported.refused.items():
                log.warning("object not exported kind=%s object=%s reason=%s", self.kind.name, name, reason)
            if not self._unlisted:
                self._publish(exported)
            elif delta.synced:
                self._unlisted.discard(source.name)
                self._hand_over_if_listed()

    def _hand_over_if_listed(self) -> None:
        if self._store is None or self._unlisted:
            return
        for key, value in self._export.pairs().items():
            self._store.upsert(key, value)
        self._store.mark_listed()

    def _publish(self, exported: Exported) -> None:
        if self._store is None:
            return
        for key, value in exported.changes.items():
            if value is None:
                self._store.remove(key)
            else:
                self._store.upsert(key, value)


class Nothing:
    """The export of a kind that we have nothing to say about."""

    def pairs(self) -> dict[bytes, bytes]:
        return {}

    def refused(self) -> int:
        return 0
